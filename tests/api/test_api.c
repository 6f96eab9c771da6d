#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "api/stream.h"

static int parse(const char *body, struct api_request *r, struct base_arena *a, struct api_error *e)
{
    base_arena_init(a, 1 << 20);
    return api_request_parse(r, a, true, body, strlen(body), e);
}

static void a_full_request_is_read(void **state)
{
    (void)state;
    struct api_request r;
    struct base_arena a;
    struct api_error e;
    const char *body =
        "{\"model\":\"m\",\"messages\":[{\"role\":\"developer\",\"content\":\"be brief\"},"
        "{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"a\"},{\"type\":\"text\","
        "\"text\":\"\\u00e4\"}]},{\"role\":\"assistant\",\"content\":null}],\"stream\":true,"
        "\"stream_options\":{\"include_usage\":true},\"max_completion_tokens\":7,\"max_tokens\":9,"
        "\"temperature\":0,\"top_p\":0.5,\"top_k\":3,\"seed\":-1,\"stop\":[\"x\",\"yz\"],"
        "\"logprobs\":true,\"top_logprobs\":2,\"n\":1,\"user\":\"u\",\"tools\":[{\"type\":"
        "\"function\",\"function\":{\"name\":\"f\"}}],"
        "\"response_format\":{\"type\":\"text\"},\"presence_penalty\":0,"
        "\"metadata\":{\"data_class\":\"public\",\"route\":\"local\",\"deadline_ms\":\"1500\"}}";
    assert_int_equal(parse(body, &r, &a, &e), 0);
    assert_int_equal(r.n_msg, 3);
    assert_string_equal(r.msg[0].role, "system");
    assert_string_equal(r.msg[1].content, "a\xc3\xa4");
    assert_int_equal(r.msg[1].len, 3);
    assert_int_equal(r.msg[2].len, 0);
    assert_true(r.stream && r.include_usage && r.logprobs && r.n_tool == 1 && r.have_seed);
    assert_int_equal(r.max_tok, 7);
    assert_int_equal(r.n_top, 2);
    assert_int_equal(r.n_stop, 2);
    assert_int_equal(r.deadline_ms, 1500);
    assert_string_equal(r.data_class, "public");
    assert_string_equal(r.hint, "local");
    assert_int_equal(r.content_bytes, 11 + r.tool[0].len);

    /* What goes to the next tier says nothing about the caller or the labels, and reads back. */
    struct base_buf b;
    base_buf_init(&b, 1 << 16);
    assert_int_equal(api_request_write(&r, &b), 0);
    assert_null(strstr(base_buf_cstr(&b), "metadata"));
    assert_null(strstr(base_buf_cstr(&b), "\"user\":"));
    struct api_request again;
    struct base_arena a2;
    assert_int_equal(parse(base_buf_cstr(&b), &again, &a2, &e), 0);
    assert_int_equal(again.n_msg, 3);
    assert_int_equal(again.max_tok, 7);
    assert_string_equal(again.stop[1], "yz");
    base_arena_fini(&a2);
    base_arena_fini(&a);
    base_buf_fini(&b);
}

static void bad_requests_name_the_field(void **state)
{
    (void)state;
#define TOOL(name) "{\"type\":\"function\",\"function\":{\"name\":\"" name "\"}}"
#define MSG "\"messages\":[{\"role\":\"user\",\"content\":\"SECRET\"}]"
    static const struct {
        const char *body, *param;
        int code;
    } bad[] = {
        {"", "", BASE_EFORMAT},
        {"{\"messages\":[{\"role\":\"user\",\"content\":\"SECRET}]}", "", BASE_EFORMAT},
        {"[]", "", BASE_EFORMAT},
        {"{}", "messages", BASE_EFORMAT},
        {"{\"messages\":[]}", "messages", BASE_EFORMAT},
        {"{\"messages\":[{\"role\":\"king\",\"content\":\"SECRET\"}]}", "messages[0].role",
         BASE_EFORMAT},
        {"{\"messages\":[{\"role\":\"user\",\"content\":3}]}", "messages[0].content", BASE_EFORMAT},
        {"{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"image_url\"}]}]}",
         "messages[0].content", BASE_EUNSUPPORTED},
        {"{" MSG "," MSG "}", "", BASE_EFORMAT},
        {"{" MSG ",\"n\":2}", "n", BASE_EUNSUPPORTED},
        {"{" MSG ",\"temperature\":3}", "temperature", BASE_EFORMAT},
        {"{" MSG ",\"temperature\":\"1\"}", "temperature", BASE_EFORMAT},
        {"{" MSG ",\"max_tokens\":0}", "max_tokens", BASE_EFORMAT},
        {"{" MSG ",\"stop\":[\"\"]}", "stop", BASE_EFORMAT},
        {"{" MSG ",\"stop\":[\"1\",\"2\",\"3\",\"4\",\"5\"]}", "stop", BASE_ELIMIT},
        {"{" MSG ",\"frobnicate\":1}", "frobnicate", BASE_EUNSUPPORTED},
        {"{" MSG ",\"metadata\":{\"deadline_ms\":\"12x\"}}", "metadata.deadline_ms", BASE_EFORMAT},
        {"{" MSG ",\"metadata\":{\"data_class\":1}}", "metadata", BASE_EFORMAT},
        {"{" MSG ",\"top_logprobs\":2}", "top_logprobs", BASE_EFORMAT},
        {"{" MSG ",\"response_format\":{\"type\":\"xml\"}}", "response_format", BASE_EUNSUPPORTED},
        {"{" MSG ",\"response_format\":\"json_object\"}", "response_format", BASE_EFORMAT},
        {"{" MSG ",\"response_format\":{\"type\":\"json_schema\"}}", "response_format.json_schema",
         BASE_EFORMAT},
        {"{" MSG ",\"tools\":{}}", "tools", BASE_EFORMAT},
        {"{" MSG ",\"tools\":[{}]}", "tools[0]", BASE_EFORMAT},
        {"{" MSG ",\"tools\":[{\"type\":\"web_search\"}]}", "tools[0]", BASE_EUNSUPPORTED},
        {"{" MSG ",\"tools\":[{\"type\":\"function\"}]}", "tools[0].function", BASE_EFORMAT},
        {"{" MSG ",\"tools\":[" TOOL("SECRET f") "]}", "tools[0].function.name", BASE_EFORMAT},
        {"{" MSG ",\"tools\":[" TOOL("f") "," TOOL("f") "]}", "tools[1].function.name",
         BASE_EFORMAT},
        {"{" MSG ",\"tool_choice\":\"required\"}", "tool_choice", BASE_EFORMAT},
        {"{" MSG ",\"tool_choice\":\"some\"}", "tool_choice", BASE_EFORMAT},
        {"{" MSG ",\"tools\":[" TOOL("f") "],\"tool_choice\":{\"type\":\"function\",\"function\":{"
                                          "\"name\":\"g\"}}}",
         "tool_choice", BASE_EFORMAT},
        {"{" MSG ",\"tools\":[" TOOL("f") "],\"tool_choice\":{\"type\":\"allowed_tools\"}}",
         "tool_choice", BASE_EUNSUPPORTED},
        {"{" MSG ",\"parallel_tool_calls\":3}", "parallel_tool_calls", BASE_EFORMAT},
        {"{\"messages\":[{\"role\":\"assistant\",\"tool_calls\":3}]}", "messages[0].tool_calls",
         BASE_EFORMAT},
        {"{\"messages\":[{\"role\":\"assistant\",\"tool_calls\":[{}]}]}",
         "messages[0].tool_calls[0].id", BASE_EFORMAT},
        {"{\"messages\":[{\"role\":\"assistant\",\"tool_calls\":[{\"id\":\"SECRET\",\"function\":{"
         "\"name\":\"f\",\"arguments\":{}}}]}]}",
         "messages[0].tool_calls[0].function.arguments", BASE_EFORMAT},
        {"{\"messages\":[{\"role\":\"tool\",\"content\":\"SECRET\",\"tool_call_id\":3}]}",
         "messages[0].tool_call_id", BASE_EFORMAT},
        {"{" MSG ",\"messages2\":\"\xff\"}", "", BASE_EFORMAT},
        {"{" MSG "} x", "", BASE_EFORMAT},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct api_request r;
        struct base_arena a;
        struct api_error e;
        assert_int_equal(parse(bad[i].body, &r, &a, &e), bad[i].code);
        assert_int_equal(e.status, 400);
        assert_string_equal(e.param, bad[i].param);
        assert_true(strlen(e.message) > 10);
        assert_null(strstr(e.message, "SECRET"));
        base_arena_fini(&a);
    }
}

static void depth_and_memory_have_limits(void **state)
{
    (void)state;
    char body[4096] = "{\"messages\":";
    memset(body + strlen(body), '[', 2000);
    struct api_request r;
    struct base_arena a;
    struct api_error e;
    assert_int_equal(parse(body, &r, &a, &e), BASE_ELIMIT);
    base_arena_fini(&a);
    base_arena_init(&a, 64);
    const char *big =
        "{\"prompt\":\"0123456789012345678901234567890123456789012345678901234567890123\"}";
    assert_int_equal(api_request_parse(&r, &a, false, big, strlen(big), &e), BASE_ENOMEM);
    assert_int_equal(e.status, 503);
    base_arena_fini(&a);
}

static void what_we_stream_reads_back(void **state)
{
    (void)state;
    struct base_buf b;
    base_buf_init(&b, 1 << 16);
    struct api_head h = {.is_chat = true, .id = "chatcmpl-1", .model = "m", .created_s = 5};
    struct api_route route = {.route = "local", .rule = "r\"1", .tier = "edge", .bytes_out = 3};
    struct api_logprob lp = {.token = "\xc3", .len = 1, .logprob = -0.5f, .n_top = 1};
    lp.top[0].token = "b";
    lp.top[0].len = 1;
    lp.top[0].logprob = -1.5f / 0.0f;
    assert_int_equal(api_chunk_write(&h, true, "hel\"lo\n", 7, &lp, 1, NULL, NULL, &b), 0);
    assert_int_equal(api_chunk_write(&h, false, "bad\xff", 4, NULL, 0, NULL, NULL, &b), 0);
    assert_int_equal(api_chunk_write(&h, false, "", 0, NULL, 0, "stop", &route, &b), 0);
    struct api_usage u = {.prompt_tok = 3, .completion_tok = 4, .cached_tok = 2};
    assert_int_equal(api_usage_chunk_write(&h, &u, &b), 0);
    assert_int_equal(api_done_write(&b), 0);

    /* Byte by byte, as a network may deliver it. */
    struct api_stream *s = api_stream_new(1 << 16);
    char text[64] = "", finish[16] = "";
    bool done = false, usage = false;
    for (size_t i = 0; i < b.len; i++) {
        assert_int_equal(api_stream_feed(s, b.data + i, 1), 0);
        struct api_delta d;
        int r;
        while ((r = api_stream_next(s, &d)) == 1) {
            strncat(text, d.text, sizeof text - strlen(text) - 1);
            if (d.finish_reason != NULL)
                snprintf(finish, sizeof finish, "%s", d.finish_reason);
            usage |= d.has_usage && d.usage.prompt_tok == 3 && d.usage.completion_tok == 4;
            done |= d.done;
        }
        assert_int_equal(r, 0);
    }
    assert_string_equal(text, "hel\"lo\nbad\xef\xbf\xbd");
    assert_string_equal(finish, "stop");
    assert_true(done && usage);
    api_stream_free(s);
    base_buf_fini(&b);
}

static void a_hostile_stream_is_an_error(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "data: {\n\n",
        "data: []\n\n",
        "data: {\"choices\":[{\"delta\":{\"content\":7}}]}\n\n",
        "data: {\"usage\":{\"prompt_tokens\":-1,\"completion_tokens\":1}}\n\n",
        /* Their sum is no int. */
        "data: {\"usage\":{\"prompt_tokens\":2147483647,\"completion_tokens\":1}}\n\n",
    };
    struct api_delta d;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct api_stream *s = api_stream_new(4096);
        assert_int_equal(api_stream_feed(s, bad[i], strlen(bad[i])), 0);
        assert_int_equal(api_stream_next(s, &d), BASE_EFORMAT);
        api_stream_free(s);
    }
    struct api_stream *s = api_stream_new(16);
    int r = 0;
    for (int i = 0; i < 100 && r == 0; i++) {
        r = api_stream_feed(s, "data: 0123456789\n", 17);
        if (r == 0)
            r = api_stream_next(s, &d);
    }
    assert_true(r < 0);
    api_stream_free(s);
    s = api_stream_new(4096);
    const char *err = ": hi\r\nevent: x\r\ndata: {\"error\":{\"message\":\"no\"}}\r\n\r\n";
    assert_int_equal(api_stream_feed(s, err, strlen(err)), 0);
    assert_int_equal(api_stream_next(s, &d), 1);
    assert_true(d.is_error);
    assert_string_equal(d.error, "no");
    api_stream_free(s);
}

static void whole_answers_are_json(void **state)
{
    (void)state;
    struct base_buf b;
    base_buf_init(&b, 1 << 16);
    struct api_head h = {.is_chat = false, .id = "cmpl-1", .model = "m", .created_s = 5};
    struct api_usage u = {.prompt_tok = 1, .completion_tok = 2, .cached_tok = 1};
    struct api_logprob lp = {.token = "a", .len = 1, .logprob = -0.25f};
    assert_int_equal(api_response_write(&h, "a", 1, NULL, 0, &lp, 1, "length", &u, NULL, &b), 0);
    json_t *o = json_loadb((const char *)b.data, b.len, 0, NULL);
    assert_non_null(o);
    assert_string_equal(json_string_value(json_object_get(o, "object")), "text_completion");
    json_decref(o);
    base_buf_reset(&b);
    struct api_error e = {.status = 429, .message = "slow down", .type = "rate_limit_error"};
    assert_int_equal(api_error_write(&e, NULL, false, &b), 0);
    assert_string_equal(base_buf_cstr(&b), "{\"error\":{\"message\":\"slow down\",\"type\":"
                                           "\"rate_limit_error\",\"param\":null,\"code\":null}}");
    base_buf_reset(&b);
    const char *names[] = {"waypost", "b"};
    assert_int_equal(api_models_write(names, 2, 1, &b), 0);
    assert_non_null(strstr(base_buf_cstr(&b), "\"object\":\"list\""));
    base_buf_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_full_request_is_read),
        cmocka_unit_test(bad_requests_name_the_field),
        cmocka_unit_test(depth_and_memory_have_limits),
        cmocka_unit_test(what_we_stream_reads_back),
        cmocka_unit_test(a_hostile_stream_is_an_error),
        cmocka_unit_test(whole_answers_are_json),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
