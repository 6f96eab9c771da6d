/* Functions and forms: what a request says of them is kept, told on, and held to; calls are read
 * out of a model's text and out of a far server's stream. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "api/stream.h"
#include "engine/grammar.h"
#include "../engine/tiny_vocab.h"

static const struct api_syntax tagged = {"<tool_call>\n", "\n</tool_call>", "arguments", true, 0};
static const struct api_syntax bare = {"", "", "parameters", true, 4};
static const struct api_syntax compact = {"<tool_call>\n", "\n</tool_call>", "arguments", false, 0};

#define USER "\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]"
#define SEAT                                                                                 \
    "{\"type\":\"function\",\"function\":{\"name\":\"seat\",\"description\":\"Ring +49 170 " \
    "1234567\","                                                                             \
    "\"parameters\":{\"type\":\"object\",\"properties\":{\"level\":{\"enum\":[0,1]}},"       \
    "\"required\":["                                                                         \
    "\"level\"]}}}"
#define STOP "{\"type\":\"function\",\"function\":{\"name\":\"stop\"}}"
#define TOOLS "\"tools\":[" SEAT "," STOP "]"

struct request {
    struct api_request r;
    struct base_arena a;
};

static void parse(struct request *q, const char *body)
{
    struct api_error e;
    base_arena_init(&q->a, 1 << 20);
    if (api_request_parse(&q->r, &q->a, true, body, strlen(body), &e) != 0)
        fail_msg("%s: %s", body, e.message);
}

/* Whether `answer` is of the form that body asks for; NULL: the form's trigger is returned. */
static bool holds(const char *body, const struct api_syntax *s, const char *answer)
{
    struct request q;
    struct base_buf b;
    struct api_error e;
    struct base_err err;
    char trigger[64];
    struct eng_grammar *g;
    struct eng_grammar_state *st;
    parse(&q, body);
    base_buf_init(&b, 4 << 20);
    if (api_grammar_write(&q.r, s, &b, trigger, &e) != 0)
        fail_msg("%s: %s", body, e.message);
    if (eng_grammar_new(&g, vocab, (char *)b.data, b.len, trigger, &err) != 0)
        fail_msg("%s: %s\n%s", err.place, err.msg, base_buf_cstr(&b));
    assert_int_equal(eng_grammar_start(&st, g), 0);
    const bool ok =
        eng_grammar_take_text(st, answer, strlen(answer)) == 0 && eng_grammar_may_end(st);
    eng_grammar_stop(st);
    eng_grammar_unref(g);
    base_buf_fini(&b);
    base_arena_fini(&q.a);
    return ok;
}

static void answers_are_held_to_calls(void **state)
{
    (void)state;
#define OPEN "<tool_call>\n{\"name\": "
#define SHUT "}\n</tool_call>"
#define SEAT1 OPEN "\"seat\", \"arguments\": {\"level\": 1}" SHUT
#define STOP0 OPEN "\"stop\", \"arguments\": {}" SHUT
    static const struct {
        const char *body;
        const struct api_syntax *s;
        const char *yes[4], *no[6];
    } row[] = {
        {"{" USER "," TOOLS ",\"tool_choice\":\"required\"}",
         &tagged,
         {SEAT1, STOP0, SEAT1 "\n" STOP0},
         {"", "hi", OPEN "\"walk\", \"arguments\": {}" SHUT,
          OPEN "\"seat\", \"arguments\": {\"level\": 2}" SHUT, SEAT1 STOP0}},
        {"{" USER "," TOOLS ",\"tool_choice\":\"required\",\"parallel_tool_calls\":false}",
         &tagged,
         {SEAT1},
         {SEAT1 "\n" STOP0}},
        {"{" USER "," TOOLS
         ",\"tool_choice\":{\"type\":\"function\",\"function\":{\"name\":\"stop\"}}}",
         &tagged,
         {STOP0, STOP0 "\n" STOP0},
         {SEAT1}},
        {"{" USER "," TOOLS "}",
         &tagged,
         {"", "any text at all", SEAT1, "I will. " STOP0 "\n" SEAT1},
         {OPEN "\"walk\"", "<tool_call>{", SEAT1 " and more", SEAT1 "\n"}},
        {"{" USER "," TOOLS ",\"tool_choice\":\"required\"}",
         &bare,
         {"{\"name\": \"seat\", \"parameters\": {\"level\": 0}}"},
         {"{\"name\": \"seat\", \"parameters\": {\"level\": 0}}\n", SEAT1}},
        {"{" USER "," TOOLS "}",
         &bare,
         {"Hello", "{\"name\": \"stop\", \"parameters\": {}}"},
         {"{\"name\": \"walk\", \"parameters\": {}}"}},
        {"{" USER "," TOOLS ",\"tool_choice\":\"required\"}",
         &compact,
         {"<tool_call>\n{\"name\":\"seat\",\"arguments\":{\"level\":1}}\n</tool_call>"},
         {SEAT1}},
        {"{" USER ",\"response_format\":{\"type\":\"json_object\"}}",
         &compact,
         {"{}", "{\"a\":[1,{\"b\":null}]}"},
         {"", "[]", "1", "{\"a\":1"}},
        {"{" USER ",\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"x\","
         "\"strict\":true,\"schema\":{\"type\":\"array\",\"items\":{\"type\":\"boolean\"}}}}}",
         &tagged,
         {"[]", "[true, false]"},
         {"[1]", "{}"}},
        {"{" USER "," TOOLS ",\"response_format\":{\"type\":\"json_object\"}}",
         &tagged,
         {"{}", SEAT1},
         {"text"}},
    };
    for (size_t i = 0; i < sizeof row / sizeof row[0]; i++) {
        for (int k = 0; k < 4 && row[i].yes[k] != NULL; k++) {
            if (!holds(row[i].body, row[i].s, row[i].yes[k]))
                fail_msg("%s refuses %s", row[i].body, row[i].yes[k]);
        }
        for (int k = 0; k < 6 && row[i].no[k] != NULL; k++) {
            if (holds(row[i].body, row[i].s, row[i].no[k]))
                fail_msg("%s takes %s", row[i].body, row[i].no[k]);
        }
    }
}

static void free_answers_have_no_grammar(void **state)
{
    (void)state;
    static const char *const body[] = {"{" USER "}",
                                       "{" USER "," TOOLS ",\"tool_choice\":\"none\"}",
                                       "{" USER ",\"tools\":[],\"response_format\":null}"};
    for (int i = 0; i < 3; i++) {
        struct request q;
        struct base_buf b;
        struct api_error e;
        char trigger[64];
        parse(&q, body[i]);
        base_buf_init(&b, 1 << 16);
        assert_int_equal(api_grammar_write(&q.r, &tagged, &b, trigger, &e), 0);
        assert_int_equal(b.len, 0);
        assert_false(api_tools_active(&q.r));
        base_buf_fini(&b);
        base_arena_fini(&q.a);
    }
}

static void schemas_that_cannot_be_held_are_named(void **state)
{
    (void)state;
    static const struct {
        const char *body, *param, *code;
    } bad[] = {
        {"{" USER ",\"tools\":[" STOP
         ",{\"type\":\"function\",\"function\":{\"name\":\"f\",\"parameters\":{"
         "\"properties\":{\"a\":{\"not\":{}}}}}}]}",
         "tools[1].function.parameters/properties/a", "unsupported_schema"},
        {"{" USER ",\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"parameters\":{"
         "\"type\":\"string\"}}}]}",
         "tools[0].function.parameters", "unsupported_schema"},
        {"{" USER ",\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"x\","
         "\"schema\":{\"type\":\"string\",\"minLength\":99999}}}}",
         "response_format.json_schema.schema", "limit_exceeded"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct request q;
        struct base_buf b;
        struct api_error e;
        char trigger[64];
        parse(&q, bad[i].body);
        base_buf_init(&b, 1 << 16);
        assert_int_not_equal(api_grammar_write(&q.r, &tagged, &b, trigger, &e), 0);
        assert_int_equal(e.status, 400);
        assert_string_equal(e.param, bad[i].param);
        assert_string_equal(e.code, bad[i].code);
        base_buf_fini(&b);
        base_arena_fini(&q.a);
    }
}

/* What goes to the next tier has it all, and every word of it is shown to the detectors. */
static void all_of_it_is_told_on(void **state)
{
    (void)state;
    static const char body[] =
        "{\"messages\":[{\"role\":\"user\",\"content\":\"hi\"},{\"role\":\"assistant\",\"content\":"
        "null,"
        "\"tool_calls\":[{\"id\":\"call_1\",\"type\":\"function\",\"function\":{\"name\":\"seat\","
        "\"arguments\":\"{\\\"level\\\":1,\\\"to\\\":\\\"a@b.example\\\"}\"}}]},{\"role\":\"tool\","
        "\"tool_call_id\":\"call_1\",\"content\":\"ok\"}]," TOOLS ",\"tool_choice\":{\"type\":"
        "\"function\",\"function\":{\"name\":\"seat\"}},\"parallel_tool_calls\":false,"
        "\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"n\",\"schema\":{"
        "\"enum\":[\"line\\nbreak\",4912]}}}}";
    struct request q, again;
    struct base_buf b;
    parse(&q, body);
    assert_int_equal(q.r.n_tool, 2);
    assert_int_equal(q.r.tool_named, 0);
    assert_false(q.r.parallel);
    assert_int_equal(q.r.msg[1].n_call, 1);
    assert_string_equal(q.r.msg[2].call_id, "call_1");
    static const char *const word[] = {"Ring +49 170 1234567\n",
                                       "a@b.example\n",
                                       "line\nbreak\n",
                                       "4912\n",
                                       "level\n",
                                       "call_1\n"};
    for (size_t i = 0; i < sizeof word / sizeof word[0]; i++) {
        if (strstr(q.r.words, word[i]) == NULL)
            fail_msg("'%s' is not among the words", word[i]);
    }
    assert_true(q.r.content_bytes > q.r.tool[0].len + q.r.tool[1].len + strlen(q.r.format_json) +
                                        q.r.msg[1].call[0].len);
    base_buf_init(&b, 1 << 16);
    assert_int_equal(api_request_write(&q.r, &b), 0);
    parse(&again, base_buf_cstr(&b));
    assert_int_equal(again.r.n_tool, 2);
    assert_string_equal(again.r.tool[0].json, q.r.tool[0].json);
    assert_string_equal(again.r.format_json, q.r.format_json);
    assert_int_equal(again.r.tool_named, 0);
    assert_int_equal(again.r.choice, API_CHOICE_REQUIRED);
    assert_false(again.r.parallel);
    assert_string_equal(again.r.msg[1].call[0].args, q.r.msg[1].call[0].args);
    assert_string_equal(again.r.msg[1].call[0].id, "call_1");
    assert_string_equal(again.r.msg[2].call_id, "call_1");
    assert_string_equal(again.r.words, q.r.words);

    base_buf_reset(&b);
    assert_int_equal(api_msg_write(&q.r.msg[1], &tagged, &b), 0);
    assert_string_equal(base_buf_cstr(&b),
                        "<tool_call>\n{\"name\": \"seat\", \"arguments\": {\"level\": 1, \"to\": "
                        "\"a@b.example\"}}\n</tool_call>");
    base_buf_reset(&b);
    assert_int_equal(api_tool_write(&q.r, 1, &bare, &b), 0);
    assert_string_equal(base_buf_cstr(&b), "{\n    \"type\": \"function\",\n    \"function\": {\n"
                                           "        \"name\": \"stop\"\n    }\n}");
    base_buf_fini(&b);
    base_arena_fini(&q.a);
    base_arena_fini(&again.a);
}

/* ---- calls in text ---- */

struct heard {
    char text[256];  /* content */
    char calls[512]; /* name(args) name(args) */
    int n;
    int until; /* pieces taken; negative: all */
};

static bool hear(void *arg, const struct api_piece *p)
{
    struct heard *h = arg;
    if (h->until == 0)
        return false;
    h->until--;
    h->n++;
    if (p->kind == API_PIECE_CALL && p->call > 0)
        strcat(h->calls, " ");
    strncat(p->kind == API_PIECE_TEXT ? h->text : h->calls, p->text, p->len);
    if (p->kind == API_PIECE_CALL)
        strcat(h->calls, ":");
    return true;
}

static void calls_are_read_out_of_text(void **state)
{
    (void)state;
    static const struct {
        const struct api_syntax *s;
        const char *in, *text, *calls;
    } row[] = {
        {&tagged, "plain < text <tool", "plain < text <tool", ""},
        {&tagged, SEAT1, "", "seat:{\"level\": 1}"},
        {&tagged, "Well. " SEAT1 "\n" STOP0, "Well. ", "seat:{\"level\": 1} stop:{}"},
        {&tagged,
         "<tool_call>\n<tool_call>\n{\"name\": \"s\", \"arguments\": {\"}\": \"\\\"}\"}}\n"
         "</tool_call>bye",
         "<tool_call>\nbye", "s:{\"}\": \"\\\"}\"}"},
        {&tagged, OPEN "\"s\", \"arguments\": {\"a\": [1, {", "", "s:{\"a\": [1, {"},
        {&tagged, OPEN "\"s", "", ""},
        {&bare, "{\"name\": \"f\", \"parameters\": {\"a\": {}}}", "", "f:{\"a\": {}}"},
        {&bare, "{\"nam", "{\"nam", ""},
        {&compact, "<tool_call>\n{\"name\":\"f\",\"arguments\":{}}\n</tool_call>", "", "f:{}"},
    };
    for (size_t i = 0; i < sizeof row / sizeof row[0]; i++) {
        for (size_t piece = 1; piece < 80; piece += piece < 8 ? 1 : 35) {
            struct api_scan *x = api_scan_new(row[i].s);
            struct heard h = {.until = -1};
            const size_t len = strlen(row[i].in);
            for (size_t at = 0; at < len; at += piece) {
                const size_t n = len - at < piece ? len - at : piece;
                assert_int_equal(api_scan_feed(x, row[i].in + at, n, at + n == len, hear, &h), 0);
            }
            if (strcmp(h.text, row[i].text) != 0 || strcmp(h.calls, row[i].calls) != 0)
                fail_msg("%s -> '%s' '%s'", row[i].in, h.text, h.calls);
            api_scan_free(x);
        }
    }
}

static void reading_has_limits_and_can_be_ended(void **state)
{
    (void)state;
    struct api_scan *x = api_scan_new(&tagged);
    struct heard h = {.until = 1};
    assert_int_equal(api_scan_feed(x, SEAT1, strlen(SEAT1), true, hear, &h), BASE_ECANCELED);
    api_scan_free(x);
    x = api_scan_new(&tagged);
    h = (struct heard){.until = -1};
    int rc = 0;
    for (int i = 0; i <= API_MAX_CALL && rc == 0; i++)
        rc = api_scan_feed(x, STOP0 "\n", strlen(STOP0) + 1, false, hear, &h);
    assert_int_equal(rc, BASE_ELIMIT);
    assert_int_equal(api_scan_n_call(x), API_MAX_CALL);
    api_scan_free(x);
    x = api_scan_new(&tagged);
    char name[200];
    memset(name, 'n', sizeof name);
    assert_int_equal(api_scan_feed(x, OPEN "\"", strlen(OPEN) + 1, false, hear, &h), 0);
    assert_int_equal(api_scan_feed(x, name, sizeof name, false, hear, &h), BASE_ELIMIT);
    api_scan_free(x);
    /* Text without end does not pile up. */
    x = api_scan_new(&tagged);
    h = (struct heard){.until = -1};
    char *big = malloc(1 << 20);
    memset(big, '<', 1 << 20);
    size_t given = 0;
    for (int i = 0; i < (1 << 20); i += 200) {
        h.text[0] = '\0';
        assert_int_equal(api_scan_feed(x, big, 200, false, hear, &h), 0);
        given += strlen(h.text);
    }
    assert_true(given > 1000000);
    free(big);
    api_scan_free(x);
}

/* ---- calls in answers ---- */

static void answers_with_calls_read_back(void **state)
{
    (void)state;
    struct base_buf b;
    struct api_head h = {.is_chat = true, .id = "chatcmpl-1", .model = "m", .created_s = 5};
    const struct api_call begin = {"call_0", "seat", "", 0}, more = {NULL, NULL, "{\"a\":", 5},
                          rest = {NULL, NULL, "1}", 2}, all = {"call_0", "seat", "{\"a\":1}", 7};
    base_buf_init(&b, 1 << 16);
    assert_int_equal(api_call_chunk_write(&h, true, 0, &begin, NULL, 0, &b), 0);
    assert_int_equal(api_call_chunk_write(&h, false, 0, &more, NULL, 0, &b), 0);
    assert_int_equal(api_call_chunk_write(&h, false, 0, &rest, NULL, 0, &b), 0);
    assert_int_equal(api_chunk_write(&h, false, "", 0, NULL, 0, "tool_calls", NULL, &b), 0);
    struct api_stream *s = api_stream_new(1 << 16);
    struct api_delta d;
    char args[64] = "", name[64] = "", id[64] = "", finish[32] = "";
    assert_int_equal(api_stream_feed(s, b.data, b.len), 0);
    while (api_stream_next(s, &d) == 1) {
        for (int i = 0; i < d.n_call; i++) {
            assert_int_equal(d.call[i].index, 0);
            if (d.call[i].piece.name != NULL)
                strcpy(name, d.call[i].piece.name);
            if (d.call[i].piece.id != NULL)
                strcpy(id, d.call[i].piece.id);
            strncat(args, d.call[i].piece.args, d.call[i].piece.len);
        }
        if (d.finish_reason != NULL)
            strcpy(finish, d.finish_reason);
    }
    assert_string_equal(args, "{\"a\":1}");
    assert_string_equal(name, "seat");
    assert_string_equal(id, "call_0");
    assert_string_equal(finish, "tool_calls");
    api_stream_free(s);

    base_buf_reset(&b);
    assert_int_equal(api_response_write(&h, "", 0, &all, 1, NULL, 0, "tool_calls", NULL, NULL, &b),
                     0);
    json_t *o = json_loadb((const char *)b.data, b.len, 0, NULL);
    const json_t *m = json_object_get(json_array_get(json_object_get(o, "choices"), 0), "message");
    assert_true(json_is_null(json_object_get(m, "content")));
    const json_t *call = json_array_get(json_object_get(m, "tool_calls"), 0);
    assert_string_equal(json_string_value(json_object_get(call, "id")), "call_0");
    assert_string_equal(json_string_value(json_object_get(call, "type")), "function");
    assert_string_equal(
        json_string_value(json_object_get(json_object_get(call, "function"), "arguments")),
        "{\"a\":1}");
    json_decref(o);
    base_buf_fini(&b);
}

static void hostile_calls_are_an_error(void **state)
{
    (void)state;
#define DELTA(x) "data: {\"choices\":[{\"delta\":{\"tool_calls\":" x "}}]}\n\n"
    static const char *const bad[] = {
        DELTA("3"),
        DELTA("[{\"index\":-1}]"),
        DELTA("[{\"index\":16}]"),
        DELTA("[{\"index\":\"0\"}]"),
        DELTA("[{\"index\":0,\"function\":{\"arguments\":{}}}]"),
        DELTA("[{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{}]"),
        DELTA("[{\"index\":0,\"function\":{\"name\":"
              "\"01234567890123456789012345678901234567890123456789012345678901234\"}}]"),
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct api_stream *s = api_stream_new(4096);
        struct api_delta d;
        assert_int_equal(api_stream_feed(s, bad[i], strlen(bad[i])), 0);
        assert_int_equal(api_stream_next(s, &d), BASE_EFORMAT);
        api_stream_free(s);
    }
    struct api_stream *s = api_stream_new(4096);
    struct api_delta d;
    static const char odd[] =
        DELTA("[{\"id\":\"\",\"function\":{\"name\":\"\",\"arguments\":null}}]");
    assert_int_equal(api_stream_feed(s, odd, sizeof odd - 1), 0);
    assert_int_equal(api_stream_next(s, &d), 1);
    assert_true(d.n_call == 1 && d.call[0].piece.id == NULL && d.call[0].piece.len == 0);
    api_stream_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_are_held_to_calls),
        cmocka_unit_test(free_answers_have_no_grammar),
        cmocka_unit_test(schemas_that_cannot_be_held_are_named),
        cmocka_unit_test(all_of_it_is_told_on),
        cmocka_unit_test(calls_are_read_out_of_text),
        cmocka_unit_test(reading_has_limits_and_can_be_ended),
        cmocka_unit_test(answers_with_calls_read_back),
        cmocka_unit_test(hostile_calls_are_an_error),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
