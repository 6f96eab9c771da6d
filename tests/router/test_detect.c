/* What the detectors find, and what they leave alone. Numbers, accounts and cars are the ones that
 * standards and manuals print as examples. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "router/detect.h"

#define PHONE "identifier.phone"
#define EMAIL "identifier.email"
#define IBAN "identifier.iban"
#define CARD "identifier.card"
#define VIN "identifier.vin"
#define LOC "location.precise"

static struct rt_detect *d;

static const struct {
    const char *text, *cls;
} positive[] = {
    /* phone: international */
    {"Call +49 170 1234567 please", PHONE},
    {"+491701234567", PHONE},
    {"reach me on +1 (415) 555-2671", PHONE},
    {"+86 138 0013 8000", PHONE},
    {"0049 89 636 48018", PHONE},
    {"+44-20-7946-0958", PHONE},
    {"tel:+33142685300", PHONE},
    /* phone: Germany */
    {"Ruf bitte 0170 1234567 an", PHONE},
    {"Meine Nummer ist 0151-23456789.", PHONE},
    {"(030) 901820", PHONE},
    {"089/636 48018", PHONE},
    {"Tel.089/123456", PHONE},
    {"02151 123456", PHONE},
    {"Wähle 636 480", PHONE},
    {"Handynummer: 1701234567", PHONE},
    /* phone: China */
    {"我的手机号是13800138000,请打给我", PHONE},
    {"138-0013-8000", PHONE},
    {"138 0013 8000", PHONE},
    {"010-12345678", PHONE},
    {"0755 8888 8888", PHONE},
    {"客服400-800-1234", PHONE},
    {"打电话给88886666", PHONE},
    {"一三八零零一三八零零零", PHONE},
    {"幺三八〇〇幺三八〇〇〇", PHONE},
    /* phone: North America */
    {"415-555-2671", PHONE},
    {"(415) 555-2671", PHONE},
    {"(415)555-2671", PHONE},
    {"415.555.2671", PHONE},
    {"4155552671", PHONE},
    {"1-800-555-0199", PHONE},
    {"555-2671", PHONE},
    {"my number is 555 2671", PHONE},
    /* phone: other digits, widths, hidden characters */
    {"１３８００１３８０００", PHONE},
    {"＋４９　１７０　１２３４５６７", PHONE},
    {"٠١٧٠١٢٣٤٥٦٧", PHONE},
    {"०१७० १२३४५६७", PHONE},
    {"138\xE2\x80\x8B-0013\xE2\x80\x8B-8000", PHONE}, /* U+200B */
    {"0170\xC2\xA0"
     "1234567",
     PHONE}, /* U+00A0 */
    {"0170\xE2\x80\x93"
     "1234567",
     PHONE}, /* en dash */
    {"0170\xE2\x80\x91"
     "1234567",
     PHONE}, /* hyphen that does not break */
    {"0170\xC2\xAD"
     "1234567",
     PHONE}, /* soft hyphen */
    {"01\n70 12\t34567", PHONE},
    {"\xF0\x9D\x9F\x8E\xF0\x9D\x9F\x8F\xF0\x9D\x9F\x95\xF0\x9D\x9F\x8E 1234567", PHONE}, /* bold */
    /* e-mail */
    {"write to jane.doe+car@example.com", EMAIL},
    {"schreib an jürgen@müller.de", EMAIL},
    {"发邮件到li@example.cn吧", EMAIL},
    {"jane＠example．com", EMAIL},
    {"jane (at) example.org", EMAIL},
    {"jane[at]example[dot]org", EMAIL},
    {"jane at example dot com", EMAIL},
    {"o'neil@mail.example.co.uk", EMAIL},
    {"a@b.io", EMAIL},
    /* IBAN: the examples of the registry */
    {"DE89 3704 0044 0532 0130 00", IBAN},
    {"DE89370400440532013000", IBAN},
    {"Bitte auf DE89 3704 0044 0532 0130 00 überweisen", IBAN},
    {"transfer to GB29NWBK60161331926819 and tell me", IBAN},
    {"fr14 2004 1010 0505 0001 3m02 606 please", IBAN},
    {"NL91-ABNA-0417-1643-00", IBAN},
    {"NO93 8601 1117 947", IBAN},
    {"我的账号是DE89370400440532013000", IBAN},
    /* cards: the networks' test numbers */
    {"4111 1111 1111 1111", CARD},
    {"4111111111111111 12/27", CARD},
    {"5500-0000-0000-0004", CARD},
    {"378282246310005", CARD},
    {"6011 0009 9013 9424", CARD},
    {"卡号６２２２０２１２３４５６７８９４", CARD},
    /* VIN */
    {"VIN 1HGCM82633A004352", VIN},
    {"Fahrgestellnummer WVWZZZ1JZXW000001", VIN},
    {"车架号LSVAA49J132047371", VIN},
    {"wvwzzz1jzxw000001", VIN},
    {"1M8GDM9AXKP042788", VIN},
    /* places */
    {"I am at 48.137154, 11.576124", LOC},
    {"48.137154,11.576124", LOC},
    {"-33.8688 151.2093", LOC},
    {"48,137154; 11,576124", LOC},
    {"48°08'14\"N 11°34'31\"E", LOC},
    {"48° 08′ 14″ N", LOC},
    {"39.9042° N, 116.4074° E", LOC},
    {"lat 48.13 lon 11.57", LOC},
    {"latitude: 48.137", LOC},
    {"Breitengrad 48,137", LOC},
    {"北纬39.9042度,东经116.4074度", LOC},
    {"经度 116.4", LOC},
    {"geo:48.2010,16.3695", LOC},
    {"４８．１３７１，１１．５７６１", LOC},
};

static const char *const negative[] = {
    "",
    "110",
    "Ruf die 110 an",
    "dial 112 now",
    "call 911",
    "拨打120",
    "拨打12345",
    "Set the temperature to 22.5 degrees",
    "Stell die Temperatur auf 22,5 Grad",
    "空调调到22.5度",
    "空调调到二十二度半",
    "It is 12:30",
    "Um 07:45 Uhr losfahren",
    "Termin am 05.11.2026 um 14:30 Uhr",
    "05/11/2026",
    "01.02.2026 07:30",
    "2026-11-23",
    "2026-11-23 14:30:05",
    "2026-11-23T05:04:03Z",
    "2026年11月23日14点30分",
    "drive 350 km at 120 km/h on the A9",
    "3.14159265358979",
    "0.123456789",
    "1 000 000 people",
    "10,000,000 euros",
    "192.168.1.1",
    "255.255.255.0",
    "from 1939-1945 and 2019-2024",
    "seat to position 3, window 50 %",
    "radio 98.5 FM",
    "Which is bigger, 1234 or 5678?",
    "channel 1 2 3 4 5",
    "12.50, 13.99 and 14.20",
    "add 10.5 and 11.5",
    "meet me @ the bar",
    "user@host",
    "look at this dot",
    "I am at home. Dotted line",
    "GB29NWBK60161331926818", /* the checksum is wrong */
    "4111 1111 1111 1112",    /* Luhn's sum is wrong */
    "ABCDEFGHJKLMNPRST",      /* 17 letters */
    "internationalisation",
    "WVWZZZ1JZXW00000",  /* 16 */
    "WVWZZZ1JZXO000001", /* an O */
    "the angle is 90 degrees",
    "turn 45° left",
    "outside it is 21 °C",
    "draußen sind es 21,5 °C",
    "Erzähl mir etwas über Galileo",
    "今天星期一,第三周",
    "一二三四五六",
    "播放九十九首歌",
    "Tell me about the year 1789.",
    "mix 200 ml and 350 g at 180",
    "The ISO 13400 and 14229 standards",
    "route 66, exit 12B, 300 m",
};

static uint64_t run(const char *text)
{
    uint64_t bits = 0;
    rt_detect_run(d, text, strlen(text), &bits);
    return bits;
}

static bool has(uint64_t bits, const char *cls)
{
    for (int i = 0; i < rt_detect_n(d); i++) {
        if (strcmp(rt_detect_class(d, i), cls) == 0)
            return (bits >> i & 1) != 0;
    }
    return false;
}

static void finds_what_identifies(void **state)
{
    (void)state;
    int missed = 0;
    for (size_t i = 0; i < sizeof positive / sizeof positive[0]; i++) {
        if (!has(run(positive[i].text), positive[i].cls)) {
            print_message("# missed %s in: %s\n", positive[i].cls, positive[i].text);
            missed++;
        }
    }
    assert_int_equal(missed, 0);
}

static void finds_it_inside_a_sentence(void **state)
{
    (void)state;
    int missed = 0;
    for (size_t i = 0; i < sizeof positive / sizeof positive[0]; i++) {
        char text[400];
        snprintf(text, sizeof text, "Bitte, %s. Then what? 然后呢", positive[i].text);
        if (!has(run(text), positive[i].cls)) {
            print_message("# missed %s in: %s\n", positive[i].cls, text);
            missed++;
        }
    }
    assert_int_equal(missed, 0);
}

static void leaves_plain_speech_alone(void **state)
{
    (void)state;
    int wrong = 0;
    for (size_t i = 0; i < sizeof negative / sizeof negative[0]; i++) {
        uint64_t bits = run(negative[i]);
        if (bits != 0) {
            print_message("# found 0x%llx in: %s\n", (unsigned long long)bits, negative[i]);
            wrong++;
        }
    }
    assert_int_equal(wrong, 0);
}

static void doubt_counts_as_found(void **state)
{
    (void)state;
    static const char *const bad[] = {"\xFF", "hello \xC3", "\xED\xA0\x80", "a\xC0\xAF", "\x80"};
    uint64_t all = (UINT64_C(1) << rt_detect_n(d)) - 1;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_true(run(bad[i]) == all);
}

/* A history is many texts and one answer: what an earlier one held stays. */
static void findings_add_up(void **state)
{
    (void)state;
    uint64_t bits = 0;
    static const char *const history[] = {"I am jane@example.com", "call +49 170 1234567",
                                          "thanks"};
    for (int i = 0; i < 3; i++)
        rt_detect_run(d, history[i], strlen(history[i]), &bits);
    assert_true(has(bits, EMAIL) && has(bits, PHONE) && !has(bits, IBAN));
}

/* Long texts made to send patterns backwards, and NULs, end and end right. */
static void long_texts_end(void **state)
{
    (void)state;
    static const char *const piece[] = {
        "a",    "1",   "1 ",  "1-", "a.", "a@",   "0",
        "+",    "at ", "4,1", "A1", "(",  "lat ", "\xE5\x8C\x97\xE7\xBA\xAC",
        "call "};
    enum { LEN = 200000 };
    char *text = malloc(LEN + 32);
    assert_non_null(text);
    for (size_t i = 0; i < sizeof piece / sizeof piece[0]; i++) {
        size_t n = 0, step = strlen(piece[i]);
        while (n + step <= LEN) {
            memcpy(text + n, piece[i], step);
            n += step;
        }
        uint64_t bits = 0;
        memcpy(text + n, "\0 jane@example.com", 18);
        rt_detect_run(d, text, n + 18, &bits);
        assert_true(has(bits, EMAIL));
    }
    free(text);
}

static int open_it(void **state)
{
    (void)state;
    struct base_err err = {0};
    return rt_detect_open(&d, &err);
}

static int close_it(void **state)
{
    (void)state;
    rt_detect_close(d);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_what_identifies),     cmocka_unit_test(finds_it_inside_a_sentence),
        cmocka_unit_test(leaves_plain_speech_alone), cmocka_unit_test(doubt_counts_as_found),
        cmocka_unit_test(findings_add_up),           cmocka_unit_test(long_texts_end),
    };
    return cmocka_run_group_tests(tests, open_it, close_it);
}
