// The same rules and facts as bench_router's, through CEL: what scripts/bench-router puts beside it.
//
// usage: bench RULES.json FACTS.jsonl DECISIONS
// Each rule is a compiled, optimised program; a decision evaluates them in order until one is true.
// Facts are ready as CEL wants them before the clock starts. The rule that decides must be
// bench_router's.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"sort"
	"strconv"
	"time"

	"github.com/google/cel-go/cel"
)

const batches = 10

type rule struct{ Name, When string }

type facts struct {
	Classes                []string
	Caller, Language, Link string
	Tokens, Queue          int64
	Confidence             float64
	Decided                int
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func compile(path string) []cel.Program {
	text, err := os.ReadFile(path)
	must(err)
	var rules []rule
	must(json.Unmarshal(text, &rules))
	env, err := cel.NewEnv(
		cel.Variable("classes", cel.ListType(cel.StringType)),
		cel.Variable("caller", cel.StringType), cel.Variable("language", cel.StringType),
		cel.Variable("link", cel.StringType), cel.Variable("tokens", cel.IntType),
		cel.Variable("queue", cel.IntType), cel.Variable("confidence", cel.DoubleType))
	must(err)
	var out []cel.Program
	for _, r := range rules {
		ast, issues := env.Compile(r.When)
		must(issues.Err())
		p, err := env.Program(ast, cel.EvalOptions(cel.OptOptimize))
		must(err)
		out = append(out, p)
	}
	return out
}

func read(path string) (vars []map[string]any, decided []int) {
	f, err := os.Open(path)
	must(err)
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		var x facts
		must(json.Unmarshal(s.Bytes(), &x))
		vars = append(vars, map[string]any{"classes": x.Classes, "caller": x.Caller,
			"language": x.Language, "link": x.Link, "tokens": x.Tokens, "queue": x.Queue,
			"confidence": x.Confidence})
		decided = append(decided, x.Decided)
	}
	return
}

func decide(rules []cel.Program, vars map[string]any) int {
	for i, p := range rules {
		v, _, err := p.Eval(vars)
		if err == nil && v.Value() == true {
			return i
		}
	}
	return -1
}

func clockCost() int64 {
	var v []int64
	for i := 0; i < 100000; i++ {
		from := time.Now()
		v = append(v, int64(time.Since(from)))
	}
	sort.Slice(v, func(a, b int) bool { return v[a] < v[b] })
	return v[len(v)/2]
}

func main() {
	if len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "usage: bench RULES.json FACTS.jsonl DECISIONS")
		os.Exit(2)
	}
	rules := compile(os.Args[1])
	vars, decided := read(os.Args[2])
	n, err := strconv.Atoi(os.Args[3])
	must(err)
	other := 0
	for i := range vars {
		if decide(rules, vars[i]) != decided[i] {
			other++
		}
	}
	cost, each := clockCost(), n/batches
	ns := make([]int64, each)
	var p50, p99 []int64
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for b := 0; b < batches; b++ {
		for i := 0; i < each; i++ {
			from := time.Now()
			decide(rules, vars[i%len(vars)])
			ns[i] = int64(time.Since(from)) - cost
		}
		sort.Slice(ns, func(a, b int) bool { return ns[a] < ns[b] })
		p50 = append(p50, ns[each/2])
		p99 = append(p99, ns[each*99/100])
	}
	runtime.ReadMemStats(&after)
	must(json.NewEncoder(os.Stdout).Encode(map[string]any{
		"rules": len(rules), "decisions": each * batches, "clock_ns": cost, "other": other,
		"allocations": float64(after.Mallocs-before.Mallocs) / float64(each*batches),
		"p50_ns":      p50, "p99_ns": p99}))
}
