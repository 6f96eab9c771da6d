/* Catalogues: what may stand in one, the lines of a sentence, what they mean, and what a request's
 * tools leave of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/catalogue.h"
#include "api/chat.h"
#include "engine/grammar.h"
#include "../engine/tiny.h"
#include "../fixtures/wrap_alloc.h"

#define ONE(name, props, need)                              \
    "{\"type\":\"function\",\"function\":{\"name\":\"" name \
    "\",\"parameters\":{\"type\":\"object\",\"properties\":{" props "},\"required\":[" need "]}}"
#define FUNC(name, props, need) ONE(name, props, need) "}"
#define SEATS "\"seat\":{\"type\":\"string\",\"enum\":[\"driver\",\"passenger\"],\"x-place\":true}"
#define HEAT                                                                           \
    ONE("heat", SEATS ",\"level\":{\"type\":\"integer\",\"minimum\":0,\"maximum\":3}", \
        "\"seat\",\"level\"")                                                          \
    ",\"x-vss\":{\"driver\":\"Vehicle.Seat.L.Heat\",\"passenger\":\"Vehicle.Seat.R.Heat\"}}"
#define TEMP                                                                   \
    ONE("temp",                                                                \
        "\"t\":{\"type\":\"number\",\"minimum\":19.5,\"exclusiveMaximum\":21," \
        "\"multipleOf\":0.5}",                                                 \
        "\"t\"")                                                               \
    ",\"x-vss\":\"Vehicle.Cabin.HVAC.Temperature\"}"
#define FAN                                                                                   \
    FUNC("fan",                                                                               \
         "\"to\":{\"anyOf\":[{\"type\":\"integer\",\"minimum\":-1,\"maximum\":1},{\"enum\":[" \
         "\"up\",\"down\"]}]},\"on\":{\"type\":\"boolean\"}",                                 \
         "\"to\",\"on\"")
#define GO                                                                                 \
    FUNC("go", "\"place\":{\"type\":\"string\",\"minLength\":1,\"x-also\":[\"at home\"]}", \
         "\"place\"")
#define STOP FUNC("stop", "", "")
#define NONE FUNC("none", "", "")
#define ALL "[" HEAT "," TEMP "," FAN "," GO "," STOP "," NONE "]"

static struct eng_tok *tok;
static struct eng_vocab *vocab;

static int set_up(void **state)
{
    (void)state;
    struct base_err err = {0};
    struct gguf_file *f = tiny_open("--layers 1", &err);
    if (f == NULL || eng_tok_open(&tok, f, &err) != 0 || eng_vocab_new(&vocab, tok, &err) != 0)
        return -1;
    gguf_close(f);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    eng_vocab_free(vocab);
    eng_tok_close(tok);
    return 0;
}

static struct api_catalogue *parse(const char *text)
{
    struct api_catalogue *c = NULL;
    struct base_err err = {0};
    if (api_catalogue_parse(&c, text, strlen(text), "cat", &err) != 0)
        fail_msg("%s: %s", err.place, err.msg);
    return c;
}

static struct eng_grammar *grammar(const struct api_catalogue *c, const struct api_cat_offer *o,
                                   const char *said)
{
    struct eng_grammar *g = NULL;
    struct base_err err = {0};
    struct base_buf b;
    base_buf_init(&b, 1 << 20);
    assert_int_equal(api_catalogue_grammar(c, o, said, strlen(said), &b), 0);
    if (eng_grammar_new(&g, vocab, (const char *)b.data, b.len, NULL, &err) != 0)
        fail_msg("%s: %s\n%s", err.place, err.msg, base_buf_cstr(&b));
    base_buf_fini(&b);
    return g;
}

/* Whether the line may be answered. */
static bool holds(const struct api_catalogue *c, const struct api_cat_offer *o, const char *said,
                  const char *line)
{
    struct eng_grammar *g = grammar(c, o, said);
    struct eng_grammar_state *s = NULL;
    assert_int_equal(eng_grammar_start(&s, g), 0);
    const bool ok = eng_grammar_take_text(s, line, strlen(line)) == 0 && eng_grammar_may_end(s);
    eng_grammar_stop(s);
    eng_grammar_unref(g);
    return ok;
}

static void lines_are_held_and_read(void **state)
{
    (void)state;
    static const char said[] = "Go to  \"Caf\xc3\xa9 M\xc3\xbcller\", please!";
    static const struct {
        const char *line, *args, *vss; /* args NULL: may not be said */
    } row[] = {
        {"heat driver 3", "{\"seat\":\"driver\",\"level\":3}", "Vehicle.Seat.L.Heat"},
        {"heat me 0", "{\"seat\":\"passenger\",\"level\":0}", "Vehicle.Seat.R.Heat"},
        {"temp 19.5", "{\"t\":19.5}", "Vehicle.Cabin.HVAC.Temperature"},
        {"temp 20", "{\"t\":20}", "Vehicle.Cabin.HVAC.Temperature"},
        {"fan -1 true", "{\"to\":-1,\"on\":true}", NULL},
        {"fan up false", "{\"to\":\"up\",\"on\":false}", NULL},
        {"go to", "{\"place\":\"to\"}", NULL},
        {"go Caf\xc3\xa9 M\xc3\xbcller", "{\"place\":\"Caf\xc3\xa9 M\xc3\xbcller\"}", NULL},
        {"go to \"Caf\xc3\xa9", "{\"place\":\"to \\\"Caf\xc3\xa9\"}", NULL},
        {"go M\xc3\xbcller\", please", "{\"place\":\"M\xc3\xbcller\\\", please\"}", NULL},
        {"go at home", "{\"place\":\"at home\"}", NULL},
        {"stop", "{}", NULL},
        {"heat driver 4", NULL, NULL},
        {"heat driver", NULL, NULL},
        {"heat  driver 3", NULL, NULL},
        {"heat driver 3 ", NULL, NULL},
        {"heat rear 1", NULL, NULL},
        {"temp 21", NULL, NULL},
        {"temp 19.50", NULL, NULL},
        {"fan me true", NULL, NULL},
        {"none 1", NULL, NULL},
        {"stop now", NULL, NULL},
        {"go", NULL, NULL},
        {"go ", NULL, NULL},
        {"hea", NULL, NULL},
        {"", NULL, NULL},
    };
    struct api_catalogue *c = parse(ALL);
    const struct api_cat_offer o = api_catalogue_all(c, "passenger");
    struct api_cat_call call;
    assert_int_equal(api_catalogue_n(c), 5);
    for (size_t i = 0; i < sizeof row / sizeof row[0]; i++) {
        const char *line = row[i].line;
        if (holds(c, &o, said, line) != (row[i].args != NULL))
            fail_msg("'%s' is %s", line, row[i].args != NULL ? "refused" : "held");
        const int rc = api_catalogue_read(c, line, strlen(line), "passenger", &call);
        if (rc != (row[i].args != NULL ? 0 : BASE_EFORMAT))
            fail_msg("'%s' reads as %d", line, rc);
        if (rc != 0)
            continue;
        struct base_buf b;
        base_buf_init(&b, 1 << 16);
        assert_int_equal(api_catalogue_args(c, &call, &b), 0);
        assert_string_equal(base_buf_cstr(&b), row[i].args);
        base_buf_fini(&b);
        const char *vss = api_catalogue_vss(c, &call);
        assert_string_equal(vss != NULL ? vss : "", row[i].vss != NULL ? row[i].vss : "");
    }
    /* What no grammar would make is no call either. */
    assert_int_equal(api_catalogue_read(c, "heat me 1", 9, "roof", &call), BASE_EFORMAT);
    assert_int_equal(api_catalogue_read(c, "heat me 1", 9, NULL, &call), BASE_EFORMAT);
    assert_int_equal(api_catalogue_read(c, "none", 4, NULL, &call), 0);
    assert_int_equal(call.func, -1);
    assert_null(api_catalogue_vss(c, &call));
    api_catalogue_free(c);
}

static void spans_are_whole_words(void **state)
{
    (void)state;
    static const struct {
        const char *said, *yes[5], *no[6];
    } row[] = {
        {"play AC/DC's T.N.T. now.",
         {"AC/DC's", "T.N.T", "AC/DC's T.N.T", "T.N.T. now", "now"},
         {"AC", "AC/", "now.", "DC's", "T.N.T.", "play  AC/DC's"}},
        {"(Berlin)\t\n Mitte",
         {"Berlin", "Mitte", "Berlin) Mitte", "Berlin)"},
         {"(Berlin", "Berlin) ", "erlin"}},
        /* "dao hang dao shang hai hong qiao, A zuo" */
        {"\xe5\xaf\xbc\xe8\x88\xaa\xe5\x88\xb0\xe4\xb8\x8a\xe6\xb5\xb7\xe3\x80\x81"
         "A1\xe5\xba\xa7\xe3\x80\x82",
         {"\xe4\xb8\x8a\xe6\xb5\xb7", "\xe4\xb8\x8a",
          "\xe6\xb5\xb7\xe3\x80\x81"
          "A1",
          "A1\xe5\xba\xa7"},
         {"\xe4\xb8", "\xe6\xb5\xb7\xe3\x80\x81", "A", "\xe5\xba\xa7\xe3\x80\x82",
          "\xe4\xb8\x8a \xe6\xb5\xb7"}},
        {"a \xff b", {"a", "b", "a b"}, {"\xff", "a \xff b"}},
        {"!? ...", {NULL}, {"!", "!?", ""}},
        {"", {NULL}, {"x"}},
    };
    struct api_catalogue *c = parse(ALL);
    const struct api_cat_offer o = api_catalogue_all(c, "driver");
    char line[256];
    for (size_t i = 0; i < sizeof row / sizeof row[0]; i++) {
        for (int k = 0; k < 5 && row[i].yes[k] != NULL; k++) {
            snprintf(line, sizeof line, "go %s", row[i].yes[k]);
            if (!holds(c, &o, row[i].said, line))
                fail_msg("'%s' is refused", line);
        }
        for (int k = 0; k < 6 && row[i].no[k] != NULL; k++) {
            snprintf(line, sizeof line, "go %s", row[i].no[k]);
            if (holds(c, &o, row[i].said, line))
                fail_msg("'%s' is held", line);
        }
        assert_true(holds(c, &o, row[i].said, "go at home"));
        assert_true(holds(c, &o, row[i].said, "none"));
    }
    api_catalogue_free(c);

    /* A sentence without a word leaves no destination: the function can't be called. */
    c = parse("[" FUNC("go", "\"p\":{\"type\":\"string\"}", "\"p\"") "]");
    struct api_cat_offer only = api_catalogue_all(c, NULL);
    struct base_buf b;
    base_buf_init(&b, 1 << 16);
    assert_true(holds(c, &only, "?", "none"));
    only.none = false;
    assert_int_equal(api_catalogue_grammar(c, &only, "?", 1, &b), BASE_EINVAL);
    base_buf_reset(&b);
    char *tale = malloc(API_CAT_MAX_SAID + 1);
    memset(tale, 'a', API_CAT_MAX_SAID + 1);
    for (int i = 0; i < API_CAT_MAX_SAID; i += 2)
        tale[i] = ' ';
    assert_int_equal(api_catalogue_grammar(c, &only, tale, API_CAT_MAX_SAID, &b), 0);
    base_buf_reset(&b);
    assert_int_equal(api_catalogue_grammar(c, &only, tale, API_CAT_MAX_SAID + 1, &b), BASE_ELIMIT);
    base_buf_fini(&b);
    base_buf_init(&b, 64);
    assert_int_equal(api_catalogue_grammar(c, &only, tale, 100, &b), BASE_ELIMIT);
    base_buf_fini(&b);
    free(tale);
    api_catalogue_free(c);
}

/* Whatever bytes a sentence has: its grammar compiles, and each word of its own can be said. */
static void any_bytes_make_a_grammar(void **state)
{
    (void)state;
    static const char *const piece[] = {
        " ",    "a",    "Z9",           "\"",           "\\",
        ".",    ")",    "\xe3\x80\x8b", "\xe4\xb8\xad", "\xc3\xa4",
        "\xff", "\xe4", "\x01",         "\n",           "\xf0\x9f\x98\x80"};
    const size_t n_piece = sizeof piece / sizeof piece[0];
    struct api_catalogue *c = parse(ALL);
    const struct api_cat_offer o = api_catalogue_all(c, "driver");
    uint32_t x = 1;
    for (int i = 0; i < 300; i++) {
        char said[256] = "";
        const uint32_t n = i % 40;
        for (uint32_t k = 0; k < n; k++) {
            x = x * 1664525u + 1013904223u; /* Numerical Recipes */
            strcat(said, piece[(x >> 16) % n_piece]);
        }
        strcat(said, " word");
        if (!holds(c, &o, said, "go word") || !holds(c, &o, said, "none"))
            fail_msg("'%s'", said);
    }
    api_catalogue_free(c);
}

static void bad_catalogues_say_where(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int code;
        const char *place, *word;
    } row[] = {
        {"", BASE_EFORMAT, "cat:1:0", "expected"},
        {"[\n{\"a\":1,\"a\":2}]", BASE_EFORMAT, "cat:2:", "duplicate"},
        {"{}", BASE_EFORMAT, "cat#", "list of tools"},
        {"[]", BASE_EFORMAT, "cat#", "no function"},
        {"[" NONE "]", BASE_EFORMAT, "cat#", "no function"},
        {"[1]", BASE_EFORMAT, "cat#/0", "type 'function'"},
        {"[{\"type\":\"web\"}]", BASE_EFORMAT, "cat#/0", "type 'function'"},
        {"[" STOP "," STOP "]", BASE_EFORMAT, "cat#/1/function/name", "twice"},
        {"[" FUNC("a b", "", "") "]", BASE_EFORMAT, "cat#/0/function/name", "a name"},
        {"[" FUNC("none", "\"a\":{\"enum\":[1]}", "\"a\"") "]", BASE_EFORMAT,
         "cat#/0/function/parameters", "takes no parameters"},
        {"[{\"type\":\"function\",\"function\":{\"name\":\"a\",\"parameters\":[]}}]", BASE_EFORMAT,
         "cat#/0/function/parameters", "schema of an object"},
        {"[" FUNC("f", "\"a\":{\"enum\":[1]}", "") "]", BASE_EUNSUPPORTED,
         "cat#/0/function/parameters/properties/a", "'required'"},
        {"[" FUNC("f", "\"a\":1", "\"a\"") "]", BASE_EFORMAT,
         "cat#/0/function/parameters/properties/a", "a schema"},
        {"[" FUNC("f", "\"a\":{\"type\":\"string\"},\"b\":{\"enum\":[1]}", "\"a\",\"b\"") "]",
         BASE_EUNSUPPORTED, "cat#/0/function/parameters/properties/b", "must be the last"},
        {"[" FUNC("f", "\"a\":{\"type\":\"integer\",\"minimum\":0}", "\"a\"") "]",
         BASE_EUNSUPPORTED, "properties/a", "needs minimum and maximum"},
        {"[" FUNC("f", "\"a\":{\"type\":\"number\",\"minimum\":0,\"maximum\":1}", "\"a\"") "]",
         BASE_EUNSUPPORTED, "properties/a", "multipleOf"},
        {"[" FUNC("f", "\"a\":{\"type\":\"integer\",\"minimum\":0,\"maximum\":2000}", "\"a\"") "]",
         BASE_ELIMIT, "properties/a", "more than 1024"},
        {"[" FUNC("f", "\"a\":{\"type\":\"integer\",\"minimum\":3,\"maximum\":2}", "\"a\"") "]",
         BASE_EFORMAT, "properties/a", "between the bounds"},
        {"[" FUNC("f", "\"a\":{\"type\":\"integer\",\"minimum\":0.0000001,\"maximum\":2}",
                  "\"a\"") "]",
         BASE_EUNSUPPORTED, "properties/a", "decimals"},
        {"[" FUNC("f", "\"a\":{\"type\":\"string\",\"pattern\":\"x\"}", "\"a\"") "]",
         BASE_EUNSUPPORTED, "properties/a", "'pattern'"},
        {"[" FUNC("f", "\"a\":{\"type\":\"string\",\"minLength\":2}", "\"a\"") "]",
         BASE_EUNSUPPORTED, "properties/a", "minLength"},
        {"[" FUNC("f", "\"a\":{\"type\":\"array\"}", "\"a\"") "]", BASE_EUNSUPPORTED,
         "properties/a", "must have an enum"},
        {"[" FUNC("f", "\"a\":{\"enum\":[\"two words\"]}", "\"a\"") "]", BASE_EUNSUPPORTED,
         "properties/a", "not one word"},
        {"[" FUNC("f", "\"a\":{\"enum\":[null]}", "\"a\"") "]", BASE_EUNSUPPORTED, "properties/a",
         "string, a number"},
        {"[" FUNC("f", "\"a\":{\"enum\":[]}", "\"a\"") "]", BASE_EFORMAT, "properties/a",
         "at least one"},
        {"[" FUNC("f", "\"a\":{\"enum\":[\"me\"],\"x-place\":true}", "\"a\"") "]", BASE_EFORMAT,
         "properties/a", "speaker's place"},
        {"[" FUNC("f", "\"a\":{\"type\":\"string\",\"x-place\":true}", "\"a\"") "]", BASE_EFORMAT,
         "properties/a", "x-place"},
        {"[" FUNC("f", "\"a\":{\"enum\":[1],\"x-also\":[\"x\"]}", "\"a\"") "]", BASE_EFORMAT,
         "properties/a", "x-also"},
        {"[" ONE("f", "\"a\":{\"enum\":[1]}", "\"a\"") ",\"x-vss\":{\"2\":\"V.A\"}}]", BASE_EFORMAT,
         "cat#/0/x-vss", "values of one argument"},
        {"[" ONE("f", "\"a\":{\"enum\":[1]}", "\"a\"") ",\"x-vss\":\"a b\"}]", BASE_EFORMAT,
         "cat#/0/x-vss", "no signal"},
        {"[" ONE("f", "\"a\":{\"enum\":[1]}", "\"a\"") ",\"x-vss\":7}]", BASE_EFORMAT,
         "cat#/0/x-vss", "signal's name"},
    };
    for (size_t i = 0; i < sizeof row / sizeof row[0]; i++) {
        struct api_catalogue *c = NULL;
        struct base_err err = {0};
        const int rc = api_catalogue_parse(&c, row[i].text, strlen(row[i].text), "cat", &err);
        if (rc != row[i].code || c != NULL || strstr(err.place, row[i].place) == NULL ||
            strstr(err.msg, row[i].word) == NULL)
            fail_msg("%s: %d %s: %s", row[i].text, rc, err.place, err.msg);
    }
}

struct request {
    struct api_request r;
    struct base_arena a;
};

/* Offers what a request with these tools (and more) leaves; the code. */
static int offer(const struct api_catalogue *c, const char *more, struct request *q,
                 struct api_cat_offer *o, struct base_err *why)
{
    char body[4096];
    struct api_error e;
    base_arena_init(&q->a, 1 << 20);
    snprintf(body, sizeof body, "{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]%s}", more);
    if (api_request_parse(&q->r, &q->a, true, body, strlen(body), &e) != 0)
        fail_msg("%s: %s", body, e.message);
    return api_catalogue_offer(c, &q->r, "driver", &q->a, o, why);
}

#define TOOLS(...) ",\"tools\":[" __VA_ARGS__ "]"

static void a_request_takes_its_part(void **state)
{
    (void)state;
    static const struct {
        const char *more, *yes[4], *no[5];
    } row[] = {
        {TOOLS(HEAT "," STOP), {"heat driver 3", "heat me 1", "stop", "none"}, {"temp 20", "go x"}},
        {TOOLS(HEAT "," STOP "," NONE) ",\"tool_choice\":\"required\"",
         {"heat driver 3", "stop"},
         {"none"}},
        {TOOLS(
             HEAT
             "," STOP) ",\"tool_choice\":{\"type\":\"function\",\"function\":{\"name\":\"stop\"}}",
         {"stop"},
         {"none", "heat driver 3"}},
        /* Less than the catalogue has: only what both take. */
        {TOOLS(FUNC("heat",
                    "\"level\":{\"type\":\"integer\",\"maximum\":1},\"seat\":{\"enum\":["
                    "\"passenger\",\"roof\"]}",
                    "\"seat\"")),
         {"heat passenger 1", "none"},
         {"heat driver 1", "heat me 1", "heat passenger 2", "heat roof 1", "stop"}},
        /* More than it has, or said otherwise. */
        {TOOLS(FUNC("temp",
                    "\"t\":{\"type\":[\"number\",\"null\"],\"description\":\"degrees\"},\"u\":{}",
                    "\"t\"")),
         {"temp 19.5", "temp 20.5"},
         {"temp 21"}},
        {TOOLS(FUNC("go", "\"place\":{\"type\":\"string\"}", "\"place\"")),
         {"go x", "go at home"},
         {"go y"}},
        {TOOLS(FUNC("fan",
                    "\"to\":{\"anyOf\":[{\"const\":1.0},{\"enum\":[\"down\"]}]},\"on\":{\"type\":"
                    "\"boolean\"}",
                    "")),
         {"fan 1 true", "fan down false"},
         {"fan 0 true", "fan up true"}},
    };
    static const struct {
        const char *more, *place, *word;
    } bad[] = {
        {"", "tools", "no function"},
        {TOOLS(STOP) ",\"tool_choice\":\"none\"", "tools", "no function"},
        {TOOLS(STOP) ",\"response_format\":{\"type\":\"json_object\"}", "tools", "no function"},
        {TOOLS(NONE), "tools", "no function of the catalogue"},
        {TOOLS(STOP "," FUNC("fly", "", "")), "tools[1]", "no function of this name"},
        {TOOLS(FUNC("heat", "", "")), "tools[0]", "'heat' has (seat)"},
        {TOOLS(FUNC("heat", SEATS ",\"level\":{\"enum\":[7]}", "")), "tools[0]", "(level)"},
        {TOOLS(FUNC("heat", SEATS ",\"level\":{\"$ref\":\"#\"}", "")), "tools[0]", "(level)"},
        {TOOLS(FUNC("stop", "\"why\":{}", "\"why\"")), "tools[0]", "(why)"},
        {TOOLS(FUNC("go", "\"place\":{\"enum\":[\"x\"]}", "")), "tools[0]", "(place)"},
        {TOOLS(FUNC("go", "\"place\":{\"type\":\"string\",\"pattern\":\"x\"}", "")), "tools[0]",
         "(place)"},
    };
    struct api_catalogue *c = parse(ALL);
    struct api_cat_offer o;
    struct request q;
    struct base_err why = {0};
    for (size_t i = 0; i < sizeof row / sizeof row[0]; i++) {
        if (offer(c, row[i].more, &q, &o, &why) != 0)
            fail_msg("%s: %s: %s", row[i].more, why.place, why.msg);
        for (int k = 0; k < 4 && row[i].yes[k] != NULL; k++) {
            if (!holds(c, &o, "x", row[i].yes[k]))
                fail_msg("%s refuses '%s'", row[i].more, row[i].yes[k]);
        }
        for (int k = 0; k < 5 && row[i].no[k] != NULL; k++) {
            if (holds(c, &o, "x", row[i].no[k]))
                fail_msg("%s holds '%s'", row[i].more, row[i].no[k]);
        }
        base_arena_fini(&q.a);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        if (offer(c, bad[i].more, &q, &o, &why) != BASE_ENOTFOUND ||
            strcmp(why.place, bad[i].place) != 0 || strstr(why.msg, bad[i].word) == NULL)
            fail_msg("%s: %s: %s", bad[i].more, why.place, why.msg);
        base_arena_fini(&q.a);
    }
    /* What the next tier gets has none of our keys, and is the catalogue for us. */
    const struct api_tool *t = api_catalogue_tools(c);
    char tools[4096] = ",\"tools\":[";
    for (int i = 0; i < api_catalogue_n(c); i++) {
        assert_null(strstr(t[i].json, "x-"));
        snprintf(tools + strlen(tools), sizeof tools - strlen(tools), "%s%s", i > 0 ? "," : "",
                 t[i].json);
    }
    strcat(tools, "]");
    assert_int_equal(offer(c, tools, &q, &o, &why), 0);
    assert_null(o.may);
    assert_int_equal(o.func, api_catalogue_all(c, "driver").func);
    base_arena_fini(&q.a);
    assert_true(api_catalogue_has_place(c, "driver", true));
    assert_false(api_catalogue_has_place(c, "roof", false));
    api_catalogue_free(c);
}

/* All that is done with a catalogue and a request; the first code that is not 0. */
static int scenario(const char *tools)
{
    struct api_catalogue *c = NULL;
    struct api_cat_offer o;
    struct api_cat_call call;
    struct request q;
    struct base_err err = {0};
    struct base_buf b;
    base_buf_init(&b, 1 << 16);
    const long at = fail_at;
    fail_at = -1; /* the request is another test's */
    char body[4096];
    struct api_error e;
    base_arena_init(&q.a, 1 << 20);
    snprintf(body, sizeof body, "{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]%s}", tools);
    assert_int_equal(api_request_parse(&q.r, &q.a, true, body, strlen(body), &e), 0);
    n_alloc = 0;
    fail_at = at;
    int rc = api_catalogue_parse(&c, ALL, sizeof ALL - 1, "cat", &err);
    if (rc == 0)
        rc = api_catalogue_offer(c, &q.r, "driver", &q.a, &o, &err);
    if (rc == 0)
        rc = api_catalogue_grammar(c, &o, "go home now", 11, &b);
    if (rc == 0)
        rc = api_catalogue_read(c, "go home now", 11, "driver", &call);
    base_buf_reset(&b);
    if (rc == 0)
        rc = api_catalogue_args(c, &call, &b);
    fail_at = -1;
    base_buf_fini(&b);
    base_arena_fini(&q.a);
    api_catalogue_free(c);
    return rc;
}

static void without_memory_nothing_is_guessed(void **state)
{
    (void)state;
    static const char tools[] = TOOLS(FUNC("heat", SEATS ",\"level\":{\"enum\":[1]}", "") "," FUNC(
        "go", "\"place\":{\"type\":\"string\"}", "\"place\""));
    assert_int_equal(scenario(tools), 0);
    int n = 0;
    for (int rc = BASE_ENOMEM; rc != 0; n++) {
        fail_at = n;
        rc = scenario(tools);
        if (rc != 0 && rc != BASE_ENOMEM)
            fail_msg("allocation %d: %s", n, base_code_str(rc));
    }
    assert_true(n > 5);
}

/* The catalogue that we ship. */
static void the_cabin_reads(void **state)
{
    (void)state;
    char path[512], *text = calloc(1, 1 << 20);
    snprintf(path, sizeof path, "%s/adapters/cabin/catalogue.json",
             getenv("top_srcdir") != NULL ? getenv("top_srcdir") : ".");
    FILE *f = fopen(path, "re");
    assert_non_null(f);
    assert_true(fread(text, 1, (1 << 20) - 1, f) > 0);
    fclose(f);
    struct api_catalogue *c = parse(text);
    const struct api_cat_offer o = api_catalogue_all(c, "rear_left");
    static const char *const yes[] = {"set_temperature driver 20.5",
                                      "adjust_temperature all -2",
                                      "set_fan up",
                                      "seat_heating driver 3",
                                      "window all 100",
                                      "navigate Berlin Hauptbahnhof",
                                      "read_messages",
                                      "lights fog on",
                                      "volume mute",
                                      "volume 100",
                                      "none"};
    for (size_t i = 0; i < sizeof yes / sizeof yes[0]; i++) {
        if (!holds(c, &o, "Fahr nach Berlin Hauptbahnhof!", yes[i]))
            fail_msg("'%s' is refused", yes[i]);
    }
    /* Every sentence's line can be answered. */
    snprintf(path, sizeof path, "%s/adapters/cabin/dev.tsv",
             getenv("top_srcdir") != NULL ? getenv("top_srcdir") : ".");
    f = fopen(path, "re");
    assert_non_null(f);
    int n = 0;
    for (char row[1024]; fgets(row, sizeof row, f) != NULL; n++) {
        char *said = strchr(row, '\t'), *line = said != NULL ? strchr(said + 1, '\t') : NULL;
        assert_non_null(line);
        *line++ = '\0';
        line[strcspn(line, "\n")] = '\0';
        if (!holds(c, &o, said + 1, line))
            fail_msg("'%s' can't be answered by '%s'", said + 1, line);
    }
    assert_true(n >= 300);
    fclose(f);
    assert_false(holds(c, &o, "Fahr nach Berlin!", "navigate Hamburg"));
    assert_false(holds(c, &o, "x", "set_temperature driver 20.25"));
    api_catalogue_free(c);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_are_held_and_read),
        cmocka_unit_test(spans_are_whole_words),
        cmocka_unit_test(any_bytes_make_a_grammar),
        cmocka_unit_test(bad_catalogues_say_where),
        cmocka_unit_test(a_request_takes_its_part),
        cmocka_unit_test(without_memory_nothing_is_guessed),
        cmocka_unit_test(the_cabin_reads),
    };
    return cmocka_run_group_tests_name("catalogue", tests, set_up, tear_down);
}
