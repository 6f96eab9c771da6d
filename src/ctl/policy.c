/* waypostctl policy: the routing policy, by hand. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/ctl.h"
#include "ctl/policy.h"
#include "ctl/policy_reach.h"

static const char help[] =
    "usage: waypostctl policy check FILE [--json]\n"
    "       waypostctl policy explain FILE [--facts FILE.json|-] [NAME=VALUE ...] [--json]\n"
    "                                 [--color=auto|always|never]\n"
    "       waypostctl policy test FILE [CASES ...] [--coverage PERCENT] [--json] [--color=...]\n"
    "       waypostctl policy simulate LOG FILE [OTHER] [--all] [--json] [--color=...]\n"
    "       waypostctl policy tune FILE --log LOG --goal GOAL [--param NUMBER ...] [--holdout "
    "SHARE]\n"
    "                              [--out FILE] [--plot FILE.svg] [--force] [--all] [--json]\n"
    "       waypostctl policy tune FILE --list\n"
    "       waypostctl policy reach FILE [--json]\n"
    "       waypostctl policy diff FILE OTHER [--all] [--effort N] [--json] [--color=...]\n"
    "       waypostctl policy facts\n"
    "       waypostctl policy codes\n"
    "       waypostctl policy keygen|sign|verify --help\n"
    "\n"
    "check    compiles FILE and prints every mistake as FILE:LINE:COLUMN.\n"
    "explain  shows, rule by rule, how a request with these facts would be decided.\n"
    "test     runs case files (three lines a case: rule, facts, what is decided); without CASES "
    "the\n"
    "         one beside FILE, with .cases instead of .yaml. Says what no case has seen.\n"
    "simulate replays a decision log, or a file with an object of facts a line, through FILE:\n"
    "         routes, predicted times, bytes, money, budgets; with OTHER also what it decides\n"
    "         otherwise, in groups, with --all one by one.\n"
    "tune     fits numbers of FILE to a goal (edge_share=0.70; edge_share>=0.7,ms<=900) over a "
    "log\n"
    "         whose records have \"quality\": {\"local\": 0..1, \"cloud\": 0..1}. NUMBER is "
    "RULE:FACT,\n"
    "         RULE:FACT:lt or LINE:COLUMN; without --param, those that the policy's share moves.\n"
    "         --list shows all. --out writes FILE with the new numbers, else as it is. Exit "
    "status\n"
    "         1 if the goal is not met.\n"
    "reach    prints what may and what can leave the car, class by class.\n"
    "diff     finds facts that FILE and OTHER decide differently, one set for each pair of rules;\n"
    "         exit status 1 if there are any, 3 if --effort (conditions to evaluate) was not "
    "enough.\n"
    "facts    prints the table of facts that a policy can ask about.\n"
    "codes    prints the table of what check can find, by its codes.\n"
    "\n"
    "Facts are given as NAME=VALUE (data.class takes a comma-separated list, NAME@TARGET=VALUE\n"
    "speaks of one target's link) or as a JSON object\n"
    "  {\"data.class\": [\"public.general\"], \"request.prompt_tokens\": 40,\n"
    "   \"links\": {\"cloud\": {\"state\": \"up\", \"rtt_ms\": 35.5}}}\n"
    "where `links` says what holds for each target; link.state and link.rtt_ms hold for all.\n"
    "A fact that is not given is not known. FILE may be - for standard input.\n"
    "\n"
    "Exit status: 0 fine, 1 the answer is no (errors in the policy, a case that fails), 2 wrong\n"
    "usage, 3 a file can't be read or the facts make no sense.\n";

enum {
    OPT_JSON = 1,
    OPT_ALL,
    OPT_FACTS,
    OPT_COLOUR,
    OPT_COVERAGE,
    OPT_EFFORT,
    OPT_LOG,
    OPT_GOAL,
    OPT_PARAM,
    OPT_HOLDOUT,
    OPT_OUT,
    OPT_PLOT,
    OPT_FORCE,
    OPT_LIST,
    N_OPT
};
#define TAKES(o) (1U << OPT_##o)

static const struct option long_options[] = {
    {"json", no_argument, NULL, OPT_JSON},
    {"facts", required_argument, NULL, OPT_FACTS},
    {"color", optional_argument, NULL, OPT_COLOUR},
    {"all", no_argument, NULL, OPT_ALL},
    {"effort", required_argument, NULL, OPT_EFFORT},
    {"log", required_argument, NULL, OPT_LOG},
    {"goal", required_argument, NULL, OPT_GOAL},
    {"param", required_argument, NULL, OPT_PARAM},
    {"holdout", required_argument, NULL, OPT_HOLDOUT},
    {"out", required_argument, NULL, OPT_OUT},
    {"plot", required_argument, NULL, OPT_PLOT},
    {"force", no_argument, NULL, OPT_FORCE},
    {"list", no_argument, NULL, OPT_LIST},
    {"coverage", required_argument, NULL, OPT_COVERAGE},
    {NULL, 0, NULL, 0},
};

static int reach(const struct ctl_policy_args *a)
{
    int rc;
    struct rt_policy *p = ctl_policy_need(a->word[0], &rc);
    if (rc == CTL_OK)
        rc = ctl_policy_reach(p, a->json);
    rt_policy_free(p);
    return rc;
}

static const struct {
    const char *name;
    int (*run)(const struct ctl_policy_args *a);
    int min_word, max_word;
    unsigned takes; /* bit an option */
} commands[] = {
    {"check", ctl_policy_check, 1, 1, TAKES(JSON)},
    {"explain", ctl_policy_explain, 1, 1 << 16, TAKES(JSON) | TAKES(FACTS) | TAKES(COLOUR)},
    {"test", ctl_policy_test, 1, 1 << 16, TAKES(JSON) | TAKES(COVERAGE) | TAKES(COLOUR)},
    {"simulate", ctl_policy_simulate, 2, 3, TAKES(JSON) | TAKES(ALL) | TAKES(COLOUR)},
    {"tune", ctl_policy_tune, 1, 1,
     TAKES(JSON) | TAKES(ALL) | TAKES(COLOUR) | TAKES(LOG) | TAKES(GOAL) | TAKES(PARAM) |
         TAKES(HOLDOUT) | TAKES(OUT) | TAKES(PLOT) | TAKES(FORCE) | TAKES(LIST)},
    {"reach", reach, 1, 1, TAKES(JSON)},
    {"diff", ctl_policy_diff, 2, 2, TAKES(JSON) | TAKES(ALL) | TAKES(EFFORT) | TAKES(COLOUR)},
    {"facts", ctl_policy_facts, 0, 0, 0},
    {"codes", ctl_policy_codes, 0, 0, 0},
};
enum { N_COMMAND = sizeof commands / sizeof commands[0] };

static bool take_colour(const char *s, enum ctl_colour *out)
{
    static const char *const word[] = {"auto", "always", "never"};
    for (int i = 0; i < 3; i++) {
        if (strcmp(s != NULL ? s : "always", word[i]) == 0) {
            *out = (enum ctl_colour)i;
            return true;
        }
    }
    return false;
}

/* A share of 0 to 1, given as a number up to `most`. */
static bool take_share(const char *s, double most, double *out)
{
    char *end;
    double v = strtod(s, &end);
    *out = v / most;
    return end != s && *end == '\0' && v >= 0.0 && v <= most;
}

static bool take_count(const char *s, int64_t *out)
{
    char *end;
    errno = 0;
    *out = strtoll(s, &end, 10);
    return end != s && *end == '\0' && errno == 0 && *out > 0;
}

static bool take_list(const char *s, struct ctl_list *out)
{
    if (out->n == CTL_MAX_LIST)
        return false;
    out->at[out->n++] = s;
    return true;
}

static bool take_option(int opt, struct ctl_policy_args *a)
{
    switch (opt) {
    case OPT_JSON:
        return a->json = true;
    case OPT_ALL:
        return a->all = true;
    case OPT_FACTS:
        return take_list(optarg, &a->facts);
    case OPT_COLOUR:
        return take_colour(optarg, &a->colour);
    case OPT_FORCE:
        return a->force = true;
    case OPT_LIST:
        return a->list = true;
    case OPT_LOG:
        a->log = optarg;
        return true;
    case OPT_GOAL:
        a->goal = optarg;
        return true;
    case OPT_OUT:
        a->out = optarg;
        return true;
    case OPT_PLOT:
        a->plot = optarg;
        return true;
    case OPT_PARAM:
        return take_list(optarg, &a->param);
    case OPT_HOLDOUT:
        return take_share(optarg, 1.0, &a->holdout) && a->holdout < 1.0;
    case OPT_EFFORT:
        return take_count(optarg, &a->effort);
    case OPT_COVERAGE:
        return take_share(optarg, 100.0, &a->coverage);
    default:
        return false;
    }
}

/* getopt takes the beginning of a name for the whole: a script that a later option's name breaks.
 */
static bool known(const char *word)
{
    size_t n = strcspn(word, "=");
    for (int i = 0; long_options[i].name != NULL; i++) {
        if (strlen(long_options[i].name) == n - 2 &&
            memcmp(word + 2, long_options[i].name, n - 2) == 0)
            return true;
    }
    return n == 2;
}

/* Options may stand anywhere. False: said on stderr. */
static bool parse(int argc, char **argv, unsigned takes, struct ctl_policy_args *a)
{
    int at, opt;

    for (int i = 1; i < argc; i++) {
        if (strncmp(argv[i], "--", 2) == 0 && !known(argv[i])) {
            fprintf(stderr, "waypostctl: no option '%s'\n", argv[i]);
            return false;
        }
    }
    opterr = 0;
    optind = 1;
    while ((opt = getopt_long(argc, argv, "", long_options, &at)) != -1) {
        const char *word = argv[optind - 1];
        if (opt <= 0 || opt >= N_OPT || (takes >> opt & 1U) == 0) {
            fprintf(stderr, "waypostctl: policy %s takes no '%s'\n", argv[0], word);
            return false;
        }
        if (!take_option(opt, a)) {
            fprintf(stderr, "waypostctl: --%s: can't take '%s'\n", long_options[at].name,
                    optarg != NULL ? optarg : "");
            return false;
        }
    }
    a->word = argv + optind;
    a->n_word = argc - optind;
    return true;
}

int ctl_policy(int argc, char **argv)
{
    struct ctl_policy_args a = {.coverage = -1.0, .effort = 200000000, .holdout = 0.2};
    const int keys = ctl_policy_keys(argc, argv);

    if (keys >= 0)
        return keys;

    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            fputs(help, stdout);
            return CTL_OK;
        }
    }
    for (int c = 0; argc >= 2 && c < N_COMMAND; c++) {
        if (strcmp(argv[1], commands[c].name) != 0)
            continue;
        if (!parse(argc - 1, argv + 1, commands[c].takes, &a))
            return CTL_USAGE;
        if (a.n_word >= commands[c].min_word && a.n_word <= commands[c].max_word &&
            (a.n_word == 0 || a.word[0][0] != '\0'))
            return commands[c].run(&a);
    }
    fputs(help, stderr);
    return CTL_USAGE;
}
