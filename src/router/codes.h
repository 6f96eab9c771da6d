/* What a finding of the compiler is about, as a word that scripts and editors may rely on: a code keeps
 * its meaning, and new kinds get new ones. The table in docs/policy-codes.md is printed from here. */
#ifndef ROUTER_CODES_H
#define ROUTER_CODES_H

#include <stdbool.h>

#include "base/buf.h"

/* X(ID, code, is a warning, meaning) */
#define RT_CODES(X) \
    X(BAD_TEXT, "bad-text", 0, "Not UTF-8, or a character that cannot be seen or misleads: a tab, a byte order mark, a control character, a change of direction") \
    X(YAML, "yaml", 0, "Not valid YAML") \
    X(YAML_FEATURE, "yaml-feature", 0, "Anchors, aliases, tags, directives, second documents, keys that are no words: not part of the language") \
    X(LIMIT, "limit", 0, "Over a limit; the place is where it is crossed") \
    X(DUPLICATE_KEY, "duplicate-key", 0, "A key twice in one mapping") \
    X(DUPLICATE_ENTRY, "duplicate-entry", 0, "An entry twice in one list") \
    X(DUPLICATE_NAME, "duplicate-name", 0, "Two rules of one name in one file") \
    X(RESERVED_NAME, "reserved-name", 0, "A rule named as the router names decisions of its own") \
    X(NO_POLICY, "no-policy", 0, "Empty, no mapping, or it does not start with waypost_policy: 1") \
    X(MISSING_KEY, "missing-key", 0, "Something that must be said is not") \
    X(UNKNOWN_KEY, "unknown-key", 0, "A key that does not belong here") \
    X(UNKNOWN_FACT, "unknown-fact", 0, "A condition on something that is no fact") \
    X(UNKNOWN_SIGNAL, "unknown-signal", 0, "A condition on a vehicle signal that signals does not declare") \
    X(UNKNOWN_TARGET, "unknown-target", 0, "A target that targets does not declare") \
    X(UNKNOWN_RULE, "unknown-rule", 0, "A move of a rule that is not there") \
    X(UNKNOWN_TEST, "unknown-test", 0, "A test that the fact's type does not have") \
    X(WRONG_SHAPE, "wrong-shape", 0, "A mapping, a list or a single value where another is needed") \
    X(WRONG_TYPE, "wrong-type", 0, "A number, text or true/false where another is needed, or in quotes where it must not be") \
    X(BAD_VALUE, "bad-value", 0, "Of the right type, but not one of the words or not within the limits") \
    X(BAD_NAME, "bad-name", 0, "A name with characters that names do not have") \
    X(BAD_CLASS, "bad-class", 0, "No data class, or a pattern that is not allowed here") \
    X(NO_TARGET, "no-target", 0, "A rule that needs a target has none, or one that must not has one") \
    X(WRONG_MODE, "wrong-mode", 0, "The target does not take this mode") \
    X(WRONG_ROUTE, "wrong-route", 0, "A key that means nothing with the rule's route") \
    X(BAD_FALLBACK, "bad-fallback", 0, "A fallback that would leave the car another way") \
    X(UNNAMED_CLASSES, "unnamed-classes", 0, "A rule that lets data leave without data.class: { only: […] } directly under when") \
    X(LEAK, "leak", 0, "A class could leave though classes does not permit it") \
    X(CONTRADICTION, "contradiction", 0, "A condition that can never hold") \
    X(DEAD_RULE, "dead-rule", 0, "A rule that can never match: an earlier one matches whenever it would") \
    X(BAD_FINAL, "bad-final", 0, "A final rule that leaves the car, comes late, or that an including file replaces") \
    X(NOT_OVERRIDABLE, "not-overridable", 0, "An including file loosens what an included one fixed") \
    X(BAD_MOVE, "bad-move", 0, "A share's move that fits no test, or whose limits do not hold it") \
    X(BAD_INCLUDE, "bad-include", 0, "An included file that is not there, includes itself, or is named with folders") \
    X(UNUSED_TARGET, "unused-target", 1, "No rule uses the target") \
    X(UNUSED_STATE, "unused-state", 1, "No rule asks after the budget or the consent, so it limits nothing") \
    X(UNUSED_PERMIT, "unused-permit", 1, "A class may leave, but no rule lets it") \
    X(EMPTY_WHERE, "empty-where", 1, "No target is where the permission says") \
    X(LETS_NOTHING, "lets-nothing", 1, "A rule that lets nothing out: earlier ones take every class that it names") \
    X(CABIN_LEAVES, "cabin-leaves", 1, "Data without a label (class cabin) may leave") \
    X(WEAK_GUARD, "weak-guard", 1, "A final rule guards only while a fact is known, and a rule that leaves does not ask for it")

#define X(id, word, is_warning, meaning) RT_C_##id,
enum rt_code { RT_CODES(X) RT_N_CODE };
#undef X

const char *rt_code_str(enum rt_code c);
bool rt_code_is_warning(enum rt_code c);

/* The table for docs (Markdown). Errors: those of the buffer. */
int rt_codes_reference(struct base_buf *out) BASE_MUST_CHECK;

#endif
