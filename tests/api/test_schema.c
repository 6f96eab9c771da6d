/* Schemas become grammars: what each keyword lets through, what is refused and where, and that
 * whatever is sampled under one parses and validates. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "api/schema.h"
#include "engine/sample.h"
#include "../engine/tiny_vocab.h"
#include "validate.h"

/* Schema -> grammar's text in out. */
static int compile(const json_t *s, bool spaced, struct base_buf *out, struct base_err *err)
{
    struct api_schema *c = api_schema_new(spaced);
    struct base_buf e;
    base_buf_init(&e, 1 << 16);
    int rc = api_schema_add(c, s, false, "schema", &e, err);
    if (rc == 0)
        rc = api_schema_write(c, &e, out);
    base_buf_fini(&e);
    api_schema_free(c);
    return rc;
}

static struct eng_grammar *grammar_of(const char *schema, bool spaced)
{
    json_error_t je;
    json_t *s = json_loads(schema, JSON_DECODE_ANY, &je);
    struct base_err err = {0};
    struct eng_grammar *g = NULL;
    struct base_buf text;
    if (s == NULL)
        fail_msg("%s: %s", schema, je.text);
    base_buf_init(&text, 4 << 20);
    if (compile(s, spaced, &text, &err) != 0)
        fail_msg("%s: %s: %s", schema, err.place, err.msg);
    if (eng_grammar_new(&g, vocab, (const char *)text.data, text.len, NULL, &err) != 0)
        fail_msg("%s: %s: %s\n%s", schema, err.place, err.msg, base_buf_cstr(&text));
    base_buf_fini(&text);
    json_decref(s);
    return g;
}

static bool takes(struct eng_grammar *g, const char *text)
{
    struct eng_grammar_state *s;
    assert_int_equal(eng_grammar_start(&s, g), 0);
    const int rc = eng_grammar_take_text(s, text, strlen(text));
    const bool ok = rc == 0 && eng_grammar_may_end(s);
    assert_true(rc == 0 || rc == BASE_EINVAL);
    eng_grammar_stop(s);
    return ok;
}

static void each_keyword_lets_through_what_it_says(void **state)
{
    (void)state;
    static const struct {
        const char *schema;
        const char *yes[6], *no[9];
    } row[] = {
        {"{\"type\":\"null\"}", {"null"}, {"", "nul", "true"}},
        {"{\"type\":\"boolean\"}", {"true", "false"}, {"null", "True"}},
        {"{\"type\":\"integer\"}", {"0", "-12", "999"}, {"01", "-0", "1.0", "1e3", "+1", ""}},
        {"{\"type\":\"number\"}", {"0", "-1.5", "1e9", "2.5E-3"}, {"1.", ".5", "01", "NaN"}},
        {"{\"type\":\"string\"}",
         {"\"\"", "\"a b\"", "\"\\n\\u00e4\"", "\"\xc3\xa4\"", "\"\\\"\""},
         {"\"", "\"\n\"", "\"\\x\"", "\"\\u0000\"", "\"\\ud800\"", "\"\xff\"", "\"a\"\""}},
        {"{\"type\":[\"integer\",\"null\"]}", {"5", "null"}, {"5.5", "\"\""}},
        {"{\"type\":\"string\",\"nullable\":true}", {"null", "\"x\""}, {"1"}},
        {"{\"enum\":[\"a\\\"b\",1,2.5,null,[1],{\"k\":true}]}",
         {"\"a\\\"b\"", "1", "2.5", "null", "[1]", "{\"k\":true}"},
         {"\"a\"", "12", "[1,1]"}},
        {"{\"type\":\"string\",\"enum\":[\"up\",\"down\",7]}", {"\"up\""}, {"7", "\"u\""}},
        {"{\"const\":\"\xe4\xb8\xad\"}", {"\"\xe4\xb8\xad\""}, {"\"\""}},
        {"{\"type\":\"integer\",\"minimum\":0,\"maximum\":100}",
         {"0", "7", "42", "99", "100"},
         {"-1", "101", "007", "1000", ""}},
        {"{\"type\":\"integer\",\"minimum\":-15,\"exclusiveMaximum\":-3}",
         {"-15", "-4", "-10"},
         {"-16", "-3", "0", "15", "4"}},
        {"{\"type\":\"integer\",\"exclusiveMinimum\":true,\"minimum\":16,\"maximum\":1305}",
         {"17", "99", "100", "999", "1305"},
         {"16", "1306", "9999", "2000"}},
        {"{\"type\":\"integer\",\"minimum\":0.5,\"maximum\":3.5}", {"1", "3"}, {"0", "4"}},
        {"{\"type\":\"integer\",\"minimum\":7}", {"7", "1234567890123"}, {"6", "-7"}},
        {"{\"type\":\"integer\",\"maximum\":7}", {"7", "0", "-123"}, {"8", "10"}},
        {"{\"type\":\"integer\",\"format\":\"int32\"}",
         {"2147483647", "-2147483648"},
         {"2147483648", "-2147483649"}},
        {"{\"type\":\"integer\",\"minimum\":0,\"maximum\":20,\"multipleOf\":5}",
         {"0", "5", "20"},
         {"1", "25", "-5"}},
        {"{\"type\":\"number\",\"minimum\":16,\"maximum\":30,\"multipleOf\":0.5}",
         {"16", "16.5", "29.5", "30"},
         {"15.5", "30.5", "16.25", "16.0"}},
        {"{\"type\":\"number\",\"multipleOf\":1}", {"3", "-3"}, {"3.5"}},
        {"{\"type\":\"number\",\"minimum\":0,\"maximum\":1}",
         {"0", "1", "0.5", "0.123456789"},
         {"1.1", "-0.5", "2", "1e0", "10"}},
        {"{\"type\":\"number\",\"exclusiveMinimum\":0,\"exclusiveMaximum\":1}",
         {"0.01", "0.99"},
         {"0", "1", "1.0", "0.00", "-0.5"}},
        {"{\"type\":\"number\",\"minimum\":-1.5,\"maximum\":2.25}",
         {"-1.5", "-1.5000", "-1", "0.5", "1.999", "2.25"},
         {"-1.6", "2.2501", "2.3", "3", "-2"}},
        {"{\"type\":\"number\",\"minimum\":2.5}", {"2.5", "3", "1000.25"}, {"2.4999", "2", "-3"}},
        {"{\"type\":\"number\",\"exclusiveMaximum\":0}", {"-1", "-0.01"}, {"0", "1", "-0"}},
        {"{\"type\":\"string\",\"minLength\":2,\"maxLength\":3}",
         {"\"ab\"", "\"\xc3\xa4\xc3\xa4\xc3\xa4\"", "\"\\n\\t\""},
         {"\"a\"", "\"abcd\"", "\"\xc3\xa4\""}},
        {"{\"type\":\"string\",\"minLength\":2}", {"\"ab\"", "\"abcdefgh\""}, {"\"a\""}},
        {"{\"type\":\"string\",\"maxLength\":0}", {"\"\""}, {"\"a\""}},
        {"{\"type\":\"string\",\"pattern\":\"^[A-Z]{2}-\\\\d+$\"}",
         {"\"AB-1\"", "\"ZZ-123\""},
         {"\"AB-\"", "\"aB-1\"", "\"ABC-1\"", "\"xAB-1\""}},
        {"{\"type\":\"string\",\"pattern\":\"a|b\"}", {"\"a\"", "\"xxbxx\""}, {"\"x\"", "\"\""}},
        {"{\"type\":\"string\",\"pattern\":\"^(?:no|yes(?:ter)?)?$\"}",
         {"\"\"", "\"no\"", "\"yes\"", "\"yester\""},
         {"\"ye\"", "\"nono\""}},
        {"{\"type\":\"string\",\"pattern\":\"^[^a\\\\s]\\\\.?\\\"*$\"}",
         {"\"b\"", "\"b.\"", "\"\\\"\"", "\"\\\\\\\"\\\"\"", "\"\xc3\xa4\""},
         {"\"a\"", "\" \"", "\"\\n\"", "\"b.b\""}},
        {"{\"type\":\"string\",\"pattern\":\"^\\\\u00e4\\\\x41.[\\\\w-]$\"}",
         {"\"\xc3\xa4\x41\xc3\xa4-\"", "\"\xc3\xa4\x41\\t_\""},
         {"\"\xc3\xa4\x41\\n_\"", "\"aA__\""}},
        {"{\"type\":\"string\",\"format\":\"date\"}",
         {"\"2026-02-28\"", "\"2026-12-31\""},
         {"\"2026-02-30\"", "\"2026-13-01\"", "\"2026-04-31\"", "\"26-01-01\""}},
        {"{\"type\":\"string\",\"format\":\"date-time\"}",
         {"\"2026-11-25T22:00:00Z\"", "\"2026-11-25T22:00:00+01:30\""},
         {"\"2026-11-25 22:00:00Z\"", "\"2026-11-25T24:00:00Z\""}},
        {"{\"type\":\"string\",\"format\":\"ipv4\"}",
         {"\"127.0.0.1\"", "\"255.249.199.99\""},
         {"\"256.0.0.1\"", "\"1.2.3\"", "\"01.2.3.4\""}},
        {"{\"type\":\"string\",\"format\":\"email\"}",
         {"\"a.b@c-d.example\""},
         {"\"a@b\"", "\"@b.de\""}},
        {"{\"type\":\"array\",\"items\":{\"type\":\"boolean\"}}",
         {"[]", "[true]", "[true,false,true]"},
         {"[1]", "[true,]", "[", "[true false]"}},
        {"{\"type\":\"array\",\"items\":{\"const\":1},\"minItems\":2,\"maxItems\":3}",
         {"[1,1]", "[1,1,1]"},
         {"[]", "[1]", "[1,1,1,1]"}},
        {"{\"type\":\"array\",\"items\":{\"const\":1},\"maxItems\":0}", {"[]"}, {"[1]"}},
        {"{\"type\":\"array\",\"maxItems\":1,\"uniqueItems\":true}", {"[]", "[7]"}, {"[1,1]"}},
        {"{\"prefixItems\":[{\"const\":1},{\"const\":2}],\"items\":{\"const\":3},\"maxItems\":4}",
         {"[1,2]", "[1,2,3]", "[1,2,3,3]"},
         {"[1]", "[2,1]", "[1,2,3,3,3]", "[1,2,1]"}},
        {"{\"items\":[{\"const\":1}]}", {"[1]"}, {"[]", "[1,1]"}},
        {"{\"type\":\"object\",\"properties\":{\"a\":{\"const\":1},\"b\":{\"const\":2},\"c\":"
         "{\"const\":3}},\"required\":[\"b\"],\"additionalProperties\":false}",
         {"{\"b\":2}", "{\"a\":1,\"b\":2}", "{\"b\":2,\"c\":3}", "{\"a\":1,\"b\":2,\"c\":3}"},
         {"{}", "{\"a\":1}", "{\"b\":2,\"a\":1}", "{\"b\":2,}", "{\"b\":2,\"b\":2}", "{,\"b\":2}"}},
        {"{\"properties\":{\"a\":{\"const\":1},\"b\":{\"const\":2}}}",
         {"{}", "{\"a\":1}", "{\"b\":2}", "{\"a\":1,\"b\":2}"},
         {"{\"x\":1}", "[]"}},
        {"{\"type\":\"object\",\"properties\":{\"ab\":{\"const\":1},\"ac\":{\"const\":2}},"
         "\"additionalProperties\":{\"type\":\"boolean\"}}",
         {"{}", "{\"ab\":1,\"x\":true}", "{\"a\":true}", "{\"abc\":true,\"b\":false}",
          "{\"ad\":true}"},
         {"{\"ab\":true}", "{\"ac\":true}", "{\"x\":1}", "{\"x\":true,\"ab\":1}"}},
        {"{\"type\":\"object\",\"additionalProperties\":{\"const\":1},\"minProperties\":1,"
         "\"maxProperties\":2}",
         {"{\"k\":1}", "{\"k\":1,\"l\":1}"},
         {"{}", "{\"a\":1,\"b\":1,\"c\":1}", "{\"a\":2}"}},
        {"{\"type\":\"object\",\"additionalProperties\":false}", {"{}"}, {"{\"a\":1}"}},
        {"{\"type\":\"object\",\"properties\":{}}", {"{}"}, {"{\"a\":1}"}},
        {"{\"type\":\"object\"}", {"{}", "{\"a\":[{\"b\":null}]}"}, {"[]", "{\"a\"}"}},
        {"{\"type\":\"object\",\"required\":[\"q\"]}", {"{\"q\":{}}"}, {"{}", "{\"r\":1}"}},
        {"{\"type\":\"object\",\"properties\":{\"q\\\"\\n\":{\"const\":1}}}",
         {"{\"q\\\"\\n\":1}"},
         {"{\"q\":1}"}},
        {"{\"anyOf\":[{\"type\":\"integer\"},{\"type\":\"string\",\"maxLength\":1}]}",
         {"12", "\"a\""},
         {"\"ab\"", "null"}},
        {"{\"oneOf\":[{\"const\":\"a\"},{\"const\":\"b\"}],\"description\":\"x\"}",
         {"\"a\"", "\"b\""},
         {"\"c\""}},
        {"{\"type\":\"string\",\"anyOf\":[{\"type\":\"integer\"},{\"enum\":[\"x\",3]}]}",
         {"\"x\""},
         {"3", "5"}},
        {"{\"allOf\":[{\"type\":\"integer\",\"minimum\":3}]}", {"3"}, {"2"}},
        {"{\"allOf\":[{\"$ref\":\"#/$defs/a\"},{\"properties\":{\"y\":{\"const\":2}},\"required\":"
         "[\"y\"]}],\"$defs\":{\"a\":{\"type\":\"object\",\"properties\":{\"x\":{\"const\":1}},"
         "\"required\":[\"x\"]}}}",
         {"{\"x\":1,\"y\":2}"},
         {"{\"x\":1}", "{\"y\":2}"}},
        {"{\"type\":\"object\",\"properties\":{\"v\":{\"type\":\"integer\"},\"next\":{\"anyOf\":["
         "{\"$ref\":\"#\"},{\"type\":\"null\"}]}},\"required\":[\"v\",\"next\"]}",
         {"{\"v\":1,\"next\":null}", "{\"v\":1,\"next\":{\"v\":2,\"next\":null}}"},
         {"{\"v\":1,\"next\":1}", "{\"v\":1}"}},
        {"{\"$ref\":\"#/$defs/a~1b\",\"$defs\":{\"a/b\":{\"const\":5}}}", {"5"}, {"6"}},
        {"true", {"1", "\"a\"", "[{\"a\":[1,null]}]", "{}"}, {"", "{a:1}", "tru"}},
        {"{}", {"1", "[]"}, {"x"}},
        {"{\"type\":\"array\"}", {"[1,\"a\",{}]"}, {"{}"}},
        {"{\"minimum\":3,\"type\":\"string\"}", {"\"a\""}, {"3"}},
        {"{\"title\":\"t\",\"x-ours\":1,\"default\":3,\"type\":\"integer\"}", {"1"}, {"a"}},
    };
    for (size_t i = 0; i < sizeof row / sizeof row[0]; i++) {
        struct eng_grammar *g = grammar_of(row[i].schema, false);
        json_t *s = json_loads(row[i].schema, JSON_DECODE_ANY, NULL);
        for (int k = 0; k < 6 && row[i].yes[k] != NULL; k++) {
            if (!takes(g, row[i].yes[k]))
                fail_msg("%s refuses %s", row[i].schema, row[i].yes[k]);
            json_t *v = json_loads(row[i].yes[k], JSON_DECODE_ANY, NULL);
            assert_non_null(v);
            json_decref(v);
        }
        for (int k = 0; k < 9 && row[i].no[k] != NULL; k++) {
            if (takes(g, row[i].no[k]))
                fail_msg("%s takes %s", row[i].schema, row[i].no[k]);
        }
        json_decref(s);
        eng_grammar_unref(g);
    }
    struct eng_grammar *g = grammar_of("{\"properties\":{\"a\":{\"items\":{\"const\":1}},\"b\":"
                                       "{\"const\":{\"x\":[1,2]}}}}",
                                       true);
    assert_true(takes(g, "{\"a\": [1, 1], \"b\": {\"x\": [1, 2]}}"));
    assert_false(takes(g, "{\"a\":[1, 1]}"));
    eng_grammar_unref(g);
}

/* Every integer of a range and nothing near it, for many ranges. */
static void ranges_are_exact(void **state)
{
    (void)state;
    static const int edge[] = {-1000, -101, -100, -99, -10, -9, -1, 0, 1, 9, 10, 11, 99, 100, 115};
    const int n = (int)(sizeof edge / sizeof edge[0]);
    for (int i = 0; i < n; i++) {
        for (int k = i; k < n; k++) {
            char schema[128], text[32];
            snprintf(schema, sizeof schema, "{\"type\":\"integer\",\"minimum\":%d,\"maximum\":%d}",
                     edge[i], edge[k]);
            struct eng_grammar *g = grammar_of(schema, false);
            snprintf(schema, sizeof schema,
                     "{\"type\":\"number\",\"minimum\":%d.25,\"maximum\":%d.5}", edge[i], edge[k]);
            struct eng_grammar *r = edge[i] >= 0 ? grammar_of(schema, false) : NULL;
            for (int v = -1011; v <= 1011; v++) {
                snprintf(text, sizeof text, "%d", v);
                if (takes(g, text) != (v >= edge[i] && v <= edge[k]))
                    fail_msg("%s: %d", schema, v);
                for (int q = 0; r != NULL && q < 1000; q += 125) {
                    snprintf(text, sizeof text, "%s%d.%03d", v < 0 ? "-" : "", abs(v), q);
                    const double x = strtod(text, NULL);
                    if (takes(r, text) && (x < edge[i] + 0.25 || x > edge[k] + 0.5))
                        fail_msg("%s: %s", schema, text);
                }
            }
            eng_grammar_unref(g);
            eng_grammar_unref(r);
        }
    }
}

static void what_cannot_be_held_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *schema, *place;
        int code;
    } bad[] = {
        {"3", "schema", BASE_EFORMAT},
        {"false", "schema", BASE_EUNSUPPORTED},
        {"{\"type\":\"float\"}", "schema", BASE_EFORMAT},
        {"{\"type\":[]}", "schema", BASE_EFORMAT},
        {"{\"not\":{}}", "schema", BASE_EUNSUPPORTED},
        {"{\"if\":{},\"type\":\"string\"}", "schema", BASE_EUNSUPPORTED},
        {"{\"patternProperties\":{}}", "schema", BASE_EUNSUPPORTED},
        {"{\"properties\":{\"a\":{\"propertyNames\":{}}}}", "schema/properties/a",
         BASE_EUNSUPPORTED},
        {"{\"items\":{\"contains\":{}}}", "schema/items", BASE_EUNSUPPORTED},
        {"{\"items\":{},\"uniqueItems\":true}", "schema", BASE_EUNSUPPORTED},
        {"{\"properties\":{\"a\":{\"frob\":1}}}", "schema/properties/a", BASE_EUNSUPPORTED},
        {"{\"properties\":[]}", "schema", BASE_EFORMAT},
        {"{\"required\":\"a\"}", "schema", BASE_EFORMAT},
        {"{\"required\":[1]}", "schema", BASE_EFORMAT},
        {"{\"required\":[\"a\"],\"additionalProperties\":false}", "schema", BASE_EUNSUPPORTED},
        {"{\"properties\":{\"a\":{}},\"minProperties\":1}", "schema", BASE_EUNSUPPORTED},
        {"{\"additionalProperties\":3}", "schema/additionalProperties", BASE_EFORMAT},
        {"{\"enum\":[]}", "schema", BASE_EUNSUPPORTED},
        {"{\"enum\":3}", "schema", BASE_EFORMAT},
        {"{\"type\":\"integer\",\"enum\":[\"a\"]}", "schema", BASE_EUNSUPPORTED},
        {"{\"enum\":[\"a\"],\"minLength\":2}", "schema", BASE_EUNSUPPORTED},
        {"{\"anyOf\":[]}", "schema", BASE_EFORMAT},
        {"{\"anyOf\":[{},{\"not\":{}}]}", "schema/anyOf/1", BASE_EUNSUPPORTED},
        {"{\"anyOf\":[{}],\"properties\":{}}", "schema", BASE_EUNSUPPORTED},
        {"{\"type\":\"null\",\"anyOf\":[{\"type\":\"string\"}]}", "schema", BASE_EUNSUPPORTED},
        {"{\"allOf\":[{\"type\":\"string\"},{\"minLength\":2}]}", "schema/allOf/0",
         BASE_EUNSUPPORTED},
        {"{\"allOf\":[{\"properties\":{\"a\":{\"const\":1}}},{\"properties\":{\"a\":{\"const\":2}}}"
         "]}",
         "schema/allOf/1", BASE_EUNSUPPORTED},
        {"{\"$ref\":\"#/$defs/x\"}", "schema", BASE_EFORMAT},
        {"{\"$ref\":\"other.json\"}", "schema", BASE_EUNSUPPORTED},
        {"{\"$ref\":\"#/$defs/x\",\"minLength\":1,\"$defs\":{\"x\":{}}}", "schema",
         BASE_EUNSUPPORTED},
        {"{\"items\":{\"$ref\":\"#/$defs/x\"},\"$defs\":{\"x\":{\"not\":{}}}}", "schema/$defs/x",
         BASE_EUNSUPPORTED},
        {"{\"type\":\"string\",\"minLength\":-1}", "schema", BASE_EFORMAT},
        {"{\"type\":\"string\",\"minLength\":9999}", "schema", BASE_ELIMIT},
        {"{\"type\":\"string\",\"minLength\":3,\"maxLength\":2}", "schema", BASE_EUNSUPPORTED},
        {"{\"type\":\"string\",\"format\":\"uri\"}", "schema", BASE_EUNSUPPORTED},
        {"{\"type\":\"integer\",\"format\":\"uri\"}", "schema", BASE_EUNSUPPORTED},
        {"{\"type\":\"string\",\"format\":\"date\",\"maxLength\":3}", "schema", BASE_EUNSUPPORTED},
        {"{\"type\":\"string\",\"pattern\":\"(?=a)\"}", "schema", BASE_EUNSUPPORTED},
        {"{\"type\":\"string\",\"pattern\":\"(a)\\\\1\"}", "schema", BASE_EUNSUPPORTED},
        {"{\"type\":\"string\",\"pattern\":\"a\\\\b\"}", "schema", BASE_EUNSUPPORTED},
        {"{\"type\":\"string\",\"pattern\":\"\\\\p{L}\"}", "schema", BASE_EUNSUPPORTED},
        {"{\"type\":\"string\",\"pattern\":\"a^b\"}", "schema", BASE_EUNSUPPORTED},
        {"{\"type\":\"string\",\"pattern\":\"^a|b\"}", "schema", BASE_EUNSUPPORTED},
        {"{\"type\":\"string\",\"pattern\":\"(a\"}", "schema", BASE_EUNSUPPORTED},
        {"{\"type\":\"string\",\"pattern\":\"a)\"}", "schema", BASE_EUNSUPPORTED},
        {"{\"type\":\"string\",\"pattern\":\"[a\"}", "schema", BASE_EUNSUPPORTED},
        {"{\"type\":\"string\",\"pattern\":\"*\"}", "schema", BASE_EUNSUPPORTED},
        {"{\"type\":\"string\",\"pattern\":\"a{2,1}\"}", "schema", BASE_ELIMIT},
        {"{\"type\":\"string\",\"pattern\":\"a{ 2}\"}", "schema", BASE_EUNSUPPORTED},
        {"{\"type\":\"string\",\"pattern\":\"a**\"}", "schema", BASE_EUNSUPPORTED},
        {"{\"type\":\"string\",\"pattern\":\"\\\\\"}", "schema", BASE_EUNSUPPORTED},
        {"{\"type\":\"string\",\"pattern\":\"a\",\"minLength\":2}", "schema", BASE_EUNSUPPORTED},
        {"{\"type\":\"integer\",\"minimum\":\"a\"}", "schema", BASE_EFORMAT},
        {"{\"type\":\"integer\",\"minimum\":5,\"maximum\":4}", "schema", BASE_EUNSUPPORTED},
        {"{\"type\":\"integer\",\"minimum\":1e18}", "schema", BASE_EUNSUPPORTED},
        {"{\"type\":\"integer\",\"multipleOf\":3}", "schema", BASE_EUNSUPPORTED},
        {"{\"type\":\"number\",\"multipleOf\":-1,\"minimum\":0,\"maximum\":1}", "schema",
         BASE_EFORMAT},
        {"{\"type\":\"integer\",\"multipleOf\":2,\"minimum\":0,\"maximum\":100000}", "schema",
         BASE_ELIMIT},
        {"{\"type\":\"integer\",\"multipleOf\":7,\"minimum\":1,\"maximum\":6}", "schema",
         BASE_EUNSUPPORTED},
        {"{\"type\":\"number\",\"minimum\":0.12345678}", "schema", BASE_EUNSUPPORTED},
        {"{\"type\":\"number\",\"minimum\":2,\"exclusiveMaximum\":2}", "schema", BASE_EUNSUPPORTED},
        {"{\"type\":\"array\",\"minItems\":3,\"maxItems\":2}", "schema", BASE_EUNSUPPORTED},
        {"{\"prefixItems\":{}}", "schema", BASE_EFORMAT},
        {"{\"prefixItems\":[{},false]}", "schema/prefixItems/1", BASE_EUNSUPPORTED},
        {"{\"nullable\":1}", "schema", BASE_EFORMAT},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        json_t *s = json_loads(bad[i].schema, JSON_DECODE_ANY, NULL);
        struct base_err err = {0};
        struct base_buf text;
        assert_non_null(s);
        base_buf_init(&text, 1 << 20);
        const int rc = compile(s, false, &text, &err);
        if (rc != bad[i].code || strcmp(err.place, bad[i].place) != 0 || err.msg[0] == '\0')
            fail_msg("%s: %d at %s: %s", bad[i].schema, rc, err.place, err.msg);
        base_buf_fini(&text);
        json_decref(s);
    }
}

/* Compiles, then makes the grammar; which of both refuses is theirs to say. */
static int whole(const json_t *s, struct base_err *err)
{
    struct base_buf text;
    struct eng_grammar *g = NULL;
    base_buf_init(&text, 4 << 20);
    int rc = compile(s, false, &text, err);
    if (rc == 0)
        rc = eng_grammar_new(&g, vocab, (const char *)text.data, text.len, NULL, err);
    eng_grammar_unref(g);
    base_buf_fini(&text);
    return rc;
}

static void sizes_have_limits(void **state)
{
    (void)state;
    struct base_err err = {0};
    json_t *deep = json_true();
    for (int i = 0; i < 60; i++)
        deep = json_pack("{s:o}", "items", deep);
    assert_int_equal(whole(deep, &err), BASE_ELIMIT);
    json_decref(deep);
    json_t *wide = json_pack("{s:{}}", "properties"), *list = json_pack("{s:[]}", "enum");
    for (int i = 0; i < 600; i++) {
        char name[16];
        snprintf(name, sizeof name, "p%d", i);
        json_object_set_new(json_object_get(wide, "properties"), name, json_true());
    }
    for (int i = 0; i < 5000; i++)
        json_array_append_new(json_object_get(list, "enum"), json_integer(i));
    assert_int_equal(whole(wide, &err), BASE_ELIMIT);
    assert_int_equal(whole(list, &err), BASE_ELIMIT);
    json_decref(wide);
    json_decref(list);
    /* Lists in lists of thousands: the grammar's limit, not ours. */
    json_t *many = json_true();
    for (int i = 0; i < 40; i++)
        many = json_pack("{s:[oo]}", "anyOf",
                         json_pack("{s:o,s:i}", "items", many, "minItems", 4000), json_true());
    assert_int_equal(whole(many, &err), BASE_ELIMIT);
    json_decref(many);
    /* Circles without a way out. */
    static const char *const endless[] = {
        "{\"$ref\":\"#\"}",
        "{\"anyOf\":[{\"$ref\":\"#\"}]}",
        "{\"properties\":{\"a\":{\"$ref\":\"#\"}},\"required\":[\"a\"]}",
    };
    for (size_t i = 0; i < sizeof endless / sizeof endless[0]; i++) {
        json_t *s = json_loads(endless[i], 0, NULL);
        assert_int_equal(whole(s, &err), BASE_EINVAL);
        json_decref(s);
    }
}

/* ---- random schemas, random answers ---- */

static uint32_t seed = 1;

static int rnd(int n)
{
    seed = seed * 1664525 + 1013904223;
    return (int)((seed >> 9) % (uint32_t)n);
}

static json_t *random_schema(int depth)
{
    static const char *const word[] = {"a", "ab", "abc", "the user", "q\"", "\xc3\xa4", "b"};
    const int kind = rnd(depth > 0 ? 13 : 8);
    json_t *s = json_object(), *list = json_array(), *props = json_object();
    int lo = rnd(40) - 20, hi = lo + rnd(300);
    switch (kind) {
    case 0:
        json_object_set_new(s, "type", json_string("boolean"));
        break;
    case 1:
        json_object_set_new(s, "type", json_string("integer"));
        if (rnd(2))
            json_object_set_new(s, "minimum", json_integer(lo));
        if (rnd(2))
            json_object_set_new(s, "maximum", json_integer(hi));
        break;
    case 2:
        json_object_set_new(s, "type", json_string("number"));
        if (rnd(2))
            json_object_set_new(s, rnd(2) ? "minimum" : "exclusiveMinimum", json_real(lo / 4.0));
        if (rnd(2))
            json_object_set_new(s, rnd(2) ? "maximum" : "exclusiveMaximum",
                                json_real(hi / 4.0 + 1));
        break;
    case 3:
        json_object_set_new(s, "type", json_string("string"));
        lo = rnd(4);
        if (rnd(2))
            json_object_set_new(s, "minLength", json_integer(lo));
        json_object_set_new(s, "maxLength", json_integer(lo + rnd(12)));
        break;
    case 4:
        for (int i = 0; i <= rnd(4); i++)
            json_array_append_new(list, json_string(word[rnd(7)]));
        json_object_set(s, "enum", list);
        break;
    case 5:
        json_object_set_new(s, "const", json_pack("[s,i,n]", word[rnd(7)], rnd(9)));
        break;
    case 6:
        json_object_set_new(s, "type", json_pack("[s,s]", "null", rnd(2) ? "integer" : "boolean"));
        break;
    case 7:
        json_object_set_new(s, "type", json_string("string"));
        json_object_set_new(s, "pattern",
                            json_string(rnd(2) ? "^[a-z]{1,5}(-[0-9]+)?$" : "b[x-z]+c"));
        break;
    case 8:
        json_object_set_new(s, "items", random_schema(depth - 1));
        lo = rnd(3);
        json_object_set_new(s, "minItems", json_integer(lo));
        json_object_set_new(s, "maxItems", json_integer(lo + rnd(3)));
        json_object_set_new(s, "type", json_string("array"));
        break;
    case 9:
        for (int i = 0; i <= rnd(3); i++)
            json_array_append_new(list, random_schema(depth - 1));
        json_object_set(s, rnd(2) ? "anyOf" : "oneOf", list);
        break;
    case 10:
        json_object_set_new(s, "type", json_string("array"));
        for (int i = 0; i <= rnd(2); i++)
            json_array_append_new(list, random_schema(depth - 1));
        json_object_set(s, "prefixItems", list);
        json_object_set_new(s, "items", json_boolean(0));
        break;
    default:
        json_object_set_new(s, "type", json_string("object"));
        for (int i = 0; i < rnd(5); i++) {
            const char *name = word[rnd(7)];
            json_object_set_new(props, name, random_schema(depth - 1));
            if (rnd(2))
                json_array_append_new(list, json_string(name));
        }
        json_object_set(s, "properties", props);
        json_object_set(s, "required", list);
        if (rnd(3) == 0) {
            json_object_set_new(s, "additionalProperties", random_schema(0));
            if (json_object_size(props) == 0)
                json_object_set_new(s, "maxProperties", json_integer(2));
        } else {
            json_object_set_new(s, "additionalProperties", json_boolean(0));
        }
        break;
    }
    json_decref(list);
    json_decref(props);
    return s;
}

/* One answer from noise -> out, within the limit. */
static void answer(struct eng_grammar *g, int round, struct base_buf *out)
{
    struct eng_sample_params p = ENG_SAMPLE_GREEDY;
    struct eng_sampler *s = NULL;
    struct base_err err = {0};
    p.temperature = 1.0f;
    p.top_p = round % 3 == 0 ? 0.9f : 1.0f;
    p.seed = (uint64_t)round;
    p.grammar = g;
    p.max_tok = 900 + rnd(100);
    assert_int_equal(eng_sampler_new(&s, &p, eng_tok_n_vocab(tok), &err), 0);
    bool end = false;
    for (int i = 0; i < p.max_tok && !end; i++) {
        float logits[1024];
        struct eng_pick pick;
        for (int k = 0; k < eng_tok_n_vocab(tok); k++)
            logits[k] = (float)rnd(4000) / 500;
        if (eng_sampler_pick(s, logits, &pick) != 0)
            fail_msg("no token");
        size_t n;
        const char *piece = eng_tok_piece(tok, pick.token, false, &n);
        base_buf_add(out, piece, n);
        end = eng_tok_is_end(tok, pick.token);
    }
    eng_sampler_free(s);
    assert_true(end);
}

static void random_answers_to_random_schemas_validate(void **state)
{
    (void)state;
    for (int i = 0; i < 400; i++) {
        json_t *s = random_schema(3);
        char *text = json_dumps(s, JSON_COMPACT);
        struct base_buf out;
        base_buf_init(&out, 1 << 20);
        struct eng_grammar *g = grammar_of(text, i % 2 == 1);
        for (int k = 0; k < 3; k++) {
            json_error_t je;
            base_buf_reset(&out);
            answer(g, i * 3 + k, &out);
            json_t *v = json_loadb((const char *)out.data, out.len, JSON_DECODE_ANY, &je);
            if (v == NULL)
                fail_msg("%s -> %s: %s", text, base_buf_cstr(&out), je.text);
            if (!validate(s, s, v))
                fail_msg("%s -> %s does not validate", text, base_buf_cstr(&out));
            json_decref(v);
        }
        eng_grammar_unref(g);
        base_buf_fini(&out);
        free(text);
        json_decref(s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_keyword_lets_through_what_it_says),
        cmocka_unit_test(ranges_are_exact),
        cmocka_unit_test(what_cannot_be_held_is_refused),
        cmocka_unit_test(sizes_have_limits),
        cmocka_unit_test(random_answers_to_random_schemas_validate),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
