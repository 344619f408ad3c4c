package lint

import "testing"

func TestClock(t *testing.T) { clean(t, "clock") }

func TestClock_fires(t *testing.T) {
	const body = "import \"time\"\ntype K struct{}\nfunc (k *K) Now() int64 { return time.Now().UnixNano() }\n" +
		"func late(d time.Duration) { <-time.After(d) }\n"
	fires(t, "clock", files{
		"timerwheel/a.go", "package timerwheel\n" + body,
		"poller/a.go", "package poller\n" + body,
		"server/a.go", "package server\n" + body,
		"timerwheel/a_test.go", "package timerwheel\n" + body,
		"h1/a.go", "package h1\nimport clock \"time\"\nvar start = clock.Now()\n",
	}, "timerwheel/a.go:4 (*K).Now", "timerwheel/a.go:5 late", "poller/a.go:5 late", "h1/a.go:3 ")
}
