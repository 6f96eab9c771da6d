#include "edge/language.h"

#include <stdint.h>
#include <string.h>

#include "base/utf8.h"

enum script {
    S_NONE,
    S_HAN,
    S_KANA,
    S_HANGUL,
    S_THAI,
    S_GREEK,
    S_HEBREW,
    S_GEORGIAN,
    S_ARMENIAN,
    S_OTHER,
    N_SCRIPT
};

/* Letters of Unicode 15's blocks, in order; between them there is no letter that counts. */
static const struct {
    uint32_t first, last;
    enum script script;
} range[] = {
    {0x41, 0x5a, S_OTHER},       {0x61, 0x7a, S_OTHER},      {0xc0, 0x24f, S_OTHER},
    {0x370, 0x3ff, S_GREEK},     {0x400, 0x52f, S_OTHER},    {0x531, 0x58a, S_ARMENIAN},
    {0x5d0, 0x5f4, S_HEBREW},    {0x620, 0x7ff, S_OTHER},    {0x800, 0xdff, S_OTHER},
    {0xe01, 0xe5b, S_THAI},      {0xe80, 0x109f, S_OTHER},   {0x10a0, 0x10ff, S_GEORGIAN},
    {0x1100, 0x11ff, S_HANGUL},  {0x1200, 0x1eff, S_OTHER},  {0x1f00, 0x1fff, S_GREEK},
    {0x3041, 0x309f, S_KANA},    {0x30a1, 0x30ff, S_KANA},   {0x3105, 0x312f, S_HAN},
    {0x3131, 0x318e, S_HANGUL},  {0x31f0, 0x31ff, S_KANA},   {0x3400, 0x4dbf, S_HAN},
    {0x4e00, 0x9fff, S_HAN},     {0xa000, 0xabff, S_OTHER},  {0xac00, 0xd7a3, S_HANGUL},
    {0xf900, 0xfaff, S_HAN},     {0xff21, 0xff5a, S_OTHER},  {0xff66, 0xff9d, S_KANA},
    {0x10000, 0x1afff, S_OTHER}, {0x1b000, 0x1b16f, S_KANA}, {0x20000, 0x323af, S_HAN},
};

static enum script script_of(uint32_t c)
{
    size_t lo = 0, hi = sizeof range / sizeof range[0];
    while (lo < hi) {
        const size_t mid = (lo + hi) / 2;
        if (c > range[mid].last)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < sizeof range / sizeof range[0] && c >= range[lo].first ? range[lo].script : S_NONE;
}

const char *edge_language(const char *text, size_t len)
{
    static const char *const name[N_SCRIPT] = {
        [S_HANGUL] = "ko", [S_THAI] = "th",     [S_GREEK] = "el",
        [S_HEBREW] = "he", [S_GEORGIAN] = "ka", [S_ARMENIAN] = "hy"};
    size_t n[N_SCRIPT] = {0}, all = 0, size;
    for (size_t i = 0; i<len; i += size> 0 ? size : 1) {
        uint32_t c = 0; /* a byte that begins no character is no letter */
        size = base_utf8(text + i, len - i, &c);
        const enum script s = script_of(c);
        n[s]++;
        all += s != S_NONE;
    }
    if (all == 0)
        return NULL;
    /* Japanese is written in both; Chinese has no kana. A character of these says what takes
     * about three letters elsewhere: a quarter of the characters is half of what is said. */
    if (4 * (n[S_HAN] + n[S_KANA]) >= all && n[S_HANGUL] < n[S_HAN] + n[S_KANA])
        return n[S_KANA] > 0 ? "ja" : "zh";
    if (4 * n[S_HANGUL] >= all)
        return name[S_HANGUL];
    for (int s = S_THAI; s < S_OTHER; s++) {
        if (3 * n[s] >= 2 * all)
            return name[s];
    }
    return NULL;
}

bool edge_language_tag_ok(const char *tag)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz";
    static const char more[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    size_t n = strspn(tag, letters);
    if (n < 2 || n > 3 || strlen(tag) > 11)
        return false;
    for (tag += n; *tag != '\0'; tag += n + 1) {
        if (*tag != '-')
            return false;
        n = strspn(tag + 1, more);
        if (n < 2 || n > 8)
            return false;
    }
    return true;
}
