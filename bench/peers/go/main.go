// Go's limiters behind the line protocol of bench/peers/run.py.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"time"

	"go.uber.org/ratelimit"
	"golang.org/x/time/rate"
)

type fields map[string]string

func (f fields) number(name string, otherwise int64) int64 {
	n, err := strconv.ParseInt(f[name], 10, 64)
	if err != nil {
		return otherwise
	}
	return n
}

// measure calls take ops times in each of so many goroutines, and says how long all took.
func measure(given fields, take func() bool) map[string]any {
	ops, threads := given.number("ops", 1000), given.number("threads", 1)
	type span struct {
		from, to time.Time
		granted  int64
		_        [8]uint64
	}
	spans := make([]span, threads)
	var start, done sync.WaitGroup
	start.Add(int(threads))
	work := func(index int64) { // each notes its own times: who starts them may be kept waiting
		start.Done()
		start.Wait()
		from := time.Now()
		var sum int64
		for i := int64(0); i < ops; i++ {
			if take() {
				sum++
			}
		}
		spans[index] = span{from: from, to: time.Now(), granted: sum}
		done.Done()
	}
	done.Add(int(threads))
	for i := int64(1); i < threads; i++ {
		go work(i)
	}
	work(0)
	done.Wait()
	from, to, sum := spans[0].from, spans[0].to, int64(0)
	for _, one := range spans {
		if one.from.Before(from) {
			from = one.from
		}
		if one.to.After(to) {
			to = one.to
		}
		sum += one.granted
	}
	return map[string]any{"elapsed_ns": to.Sub(from).Nanoseconds(), "operations": ops * threads, "granted": sum}
}

func decideTime(given fields) map[string]any {
	limiter := rate.NewLimiter(1e9, 1e9)
	if given["case"] == "refused" {
		limiter = rate.NewLimiter(rate.Every(24*time.Hour), 1)
		limiter.Allow()
	}
	answer := measure(given, limiter.Allow)
	answer["clock"] = "time.Now"
	return answer
}

func decideUber(given fields) map[string]any {
	limiter := ratelimit.New(1e9)
	answer := measure(given, func() bool { limiter.Take(); return true })
	answer["clock"] = "time.Now"
	return answer
}

type step struct{ at, tries, cost int64 }

func stepsOf(given fields) (steps []step) {
	for _, text := range strings.Split(given["steps"], ",") {
		var one step
		if _, err := fmt.Sscanf(text, "%d:%d:%d", &one.at, &one.tries, &one.cost); err == nil {
			steps = append(steps, one)
		}
	}
	return steps
}

func accuracyTime(given fields) map[string]any {
	amount, period := given.number("amount", 1), given.number("period_ns", 1)
	base := time.Unix(0, given.number("base_ns", 0))
	limiter := rate.NewLimiter(rate.Limit(float64(amount)/(float64(period)/1e9)), int(amount))
	grants := [][3]int64{}
	for _, one := range stepsOf(given) {
		var granted int64
		for i := int64(0); i < one.tries; i++ {
			if limiter.AllowN(base.Add(time.Duration(one.at)), int(one.cost)) {
				granted++
			}
		}
		grants = append(grants, [3]int64{one.at, one.at, granted * one.cost})
	}
	return map[string]any{"clock": "virtual", "grants": grants}
}

// manual is a clock that sleeping moves.
type manual struct{ at time.Time }

func (m *manual) Now() time.Time        { return m.at }
func (m *manual) Sleep(d time.Duration) { m.at = m.at.Add(d) }

// accuracyUber queues the tries of a step and notes when each was let go.
func accuracyUber(given fields) map[string]any {
	base := time.Unix(0, given.number("base_ns", 0))
	clock := &manual{base}
	limiter := ratelimit.New(int(given.number("amount", 1)), ratelimit.Per(time.Duration(given.number("period_ns", 1))), ratelimit.WithClock(clock))
	grants := [][3]int64{}
	for _, one := range stepsOf(given) {
		if at := base.Add(time.Duration(one.at)); at.After(clock.at) {
			clock.at = at
		}
		for i := int64(0); i < one.tries; i++ {
			at := limiter.Take().Sub(base).Nanoseconds()
			grants = append(grants, [3]int64{at, at, 1})
		}
	}
	return map[string]any{"clock": "virtual", "grants": grants}
}

type peer struct {
	jobs    map[string]func(fields) map[string]any
	says    map[string]any
	version string
}

var peers = map[string]peer{
	"x_time_rate": {map[string]func(fields) map[string]any{"decide": decideTime, "accuracy": accuracyTime},
		map[string]any{"jobs": map[string]any{"decide": true, "accuracy": "virtual"}, "weights": true}, "golang.org/x/time"},
	"uber_ratelimit": {map[string]func(fields) map[string]any{"decide": decideUber, "accuracy": accuracyUber},
		map[string]any{"jobs": map[string]any{"decide": []string{"granted 1", "granted 2"}, "accuracy": "virtual queue"},
			"why": "Take waits, it never refuses"}, "go.uber.org/ratelimit"},
}

func list() map[string]any {
	info, _ := debug.ReadBuildInfo()
	versions := map[string]string{}
	for _, module := range info.Deps {
		versions[module.Path] = module.Version
	}
	all := map[string]any{}
	for name, one := range peers {
		one.says["version"] = versions[one.version]
		all[name] = one.says
	}
	return map[string]any{"peers": all}
}

func main() {
	in := bufio.NewReaderSize(os.Stdin, 1<<20)
	out := json.NewEncoder(os.Stdout)
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		words := strings.Fields(line)
		given := fields{}
		for _, word := range words[1:] {
			name, value, _ := strings.Cut(word, "=")
			given[name] = value
		}
		var answer map[string]any
		if words[0] == "list" {
			answer = list()
		} else if run := peers[words[0]].jobs[given["job"]]; run == nil {
			answer = map[string]any{"error": "no such peer or job"}
		} else {
			answer = run(given)
			answer["peer"] = words[0]
		}
		if out.Encode(answer) != nil {
			return
		}
	}
}
