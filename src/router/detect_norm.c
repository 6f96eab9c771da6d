/* Text -> the plain ASCII form that the detectors' patterns are written for. A number stays a
 * number in whatever script, width or with whatever invisible characters inside it is written. */
#include "router/detect_norm.h"

#include <stdbool.h>

#include "base/utf8.h"

/* The digit zero of every decimal range past ASCII, Unicode 14 (category Nd); nine digits follow.
 */
static const uint32_t zero[] = {
    0x00660, 0x006F0, 0x007C0, 0x00966, 0x009E6, 0x00A66, 0x00AE6, 0x00B66, 0x00BE6, 0x00C66,
    0x00CE6, 0x00D66, 0x00DE6, 0x00E50, 0x00ED0, 0x00F20, 0x01040, 0x01090, 0x017E0, 0x01810,
    0x01946, 0x019D0, 0x01A80, 0x01A90, 0x01B50, 0x01BB0, 0x01C40, 0x01C50, 0x0A620, 0x0A8D0,
    0x0A900, 0x0A9D0, 0x0A9F0, 0x0AA50, 0x0ABF0, 0x0FF10, 0x104A0, 0x10D30, 0x11066, 0x110F0,
    0x11136, 0x111D0, 0x112F0, 0x11450, 0x114D0, 0x11650, 0x116C0, 0x11730, 0x118E0, 0x11950,
    0x11C50, 0x11D50, 0x11DA0, 0x16A60, 0x16AC0, 0x16B50, 0x1D7CE, 0x1D7D8, 0x1D7E2, 0x1D7EC,
    0x1D7F6, 0x1E140, 0x1E2F0, 0x1E950, 0x1FBF0,
};

static int digit(uint32_t cp)
{
    size_t lo = 0, hi = sizeof zero / sizeof zero[0];
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if (cp < zero[mid])
            hi = mid;
        else if (cp > zero[mid] + 9)
            lo = mid + 1;
        else
            return (int)(cp - zero[mid]);
    }
    return -1;
}

/* Numbers as speech recognition writes them in Chinese, read digit by digit. */
static int han_digit(uint32_t cp)
{
    static const struct {
        uint32_t cp;
        int digit;
    } han[] = {
        {0x3007, 0}, {0x96F6, 0}, {0x4E00, 1}, {0x5E7A, 1}, {0x4E8C, 2}, {0x4E09, 3},
        {0x56DB, 4}, {0x4E94, 5}, {0x516D, 6}, {0x4E03, 7}, {0x516B, 8}, {0x4E5D, 9},
    };
    for (size_t i = 0; i < sizeof han / sizeof han[0]; i++) {
        if (han[i].cp == cp)
            return han[i].digit;
    }
    return -1;
}

static bool invisible(uint32_t cp)
{
    return cp == 0xAD || cp == 0x34F || cp == 0x61C || cp == 0x180E ||
           (cp >= 0x200B && cp <= 0x200F) || (cp >= 0x202A && cp <= 0x202E) ||
           (cp >= 0x2060 && cp <= 0x206F) || (cp >= 0xFE00 && cp <= 0xFE0F) || cp == 0xFEFF ||
           (cp >= 0xE0000 && cp <= 0xE0FFF);
}

static bool blank(uint32_t cp)
{
    return cp == '\t' || cp == '\r' || cp == '\n' || cp == 0xA0 || cp == 0x1680 ||
           (cp >= 0x2000 && cp <= 0x200A) || cp == 0x2028 || cp == 0x2029 || cp == 0x202F ||
           cp == 0x205F || cp == 0x3000;
}

static bool dash(uint32_t cp)
{
    return (cp >= 0x2010 && cp <= 0x2015) || cp == 0x2043 || cp == 0x2212 || cp == 0x30FC ||
           cp == 0xFE58 || cp == 0xFE63;
}

/* The ASCII character that stands for cp, 0 for nothing, -1 for itself. */
static int plain(uint32_t cp)
{
    if (cp > 0x20 && cp < 0x7F)
        return (int)cp;
    if (invisible(cp))
        return 0;
    if (blank(cp))
        return ' ';
    if (dash(cp))
        return '-';
    if (cp >= 0xFF01 && cp <= 0xFF5E) /* full-width ASCII, in ASCII's order */
        return (int)(cp - 0xFF01 + '!');
    if (cp == 0xB7 || cp == 0x2022 || cp == 0x2024 || cp == 0x30FB || cp == 0x3002)
        return '.';
    if (cp == 0x2032 || cp == 0x2019)
        return '\'';
    if (cp == 0x2033 || cp == 0x201D)
        return '"';
    if (cp == 0x2044 || cp == 0x2215)
        return '/';
    int d = digit(cp);
    if (d < 0)
        d = han_digit(cp);
    return d >= 0 ? '0' + d : -1;
}

size_t rt_detect_normalise(const char *text, size_t len, char *out)
{
    size_t n = 0;

    for (size_t i = 0; i < len;) {
        uint32_t cp;
        size_t step = base_utf8(text + i, len - i, &cp);
        if (step == 0)
            return SIZE_MAX;
        int c = plain(cp);
        if (c > 0)
            out[n++] = (char)c;
        for (size_t k = 0; k < step && c < 0; k++)
            out[n++] = text[i + k];
        i += step;
    }
    return n;
}
