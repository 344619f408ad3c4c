package lint

import "testing"

func TestSleep(t *testing.T) { clean(t, "sleep") }

func TestSleep_fires(t *testing.T) {
	fires(t, "sleep", files{
		"proxy/a_test.go", "package proxy\nimport \"time\"\nfunc f() { time.Sleep(1) }\n",
		"proxy/b_test.go", "package proxy\nimport \"testing/synctest\"\nimport \"time\"\nfunc f() { time.Sleep(1) }\n",
		"proxy/c.go", "package proxy\nimport \"time\"\nfunc f() { time.Sleep(1) }\n",
	}, "proxy/a_test.go:3 f")
}
