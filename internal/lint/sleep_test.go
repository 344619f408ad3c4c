package lint

import "testing"

func TestSleep(t *testing.T) { clean(t, "sleep") }

func TestSleep_fires(t *testing.T) {
	fires(t, "sleep", files{
		"proxy/a_test.go", "package proxy\nimport \"time\"\nfunc f() { time.Sleep(1) }\n",
		"proxy/b_test.go", "package proxy\nimport \"testing/synctest\"\nimport \"time\"\nfunc f() { time.Sleep(1) }\n",
		"proxy/c.go", "package proxy\nimport \"time\"\nfunc f() { time.Sleep(1) }\n",
		"proxy/d_test.go", "package proxy\nimport \"" + module + "/internal/test/testutil\"\nimport \"time\"\n" +
			"func f() { testutil.Eventually(nil, 9*time.Second) }\n" +
			"func g() { testutil.Eventually(nil, 2*testutil.Patience) }\n",
		"proxy/e_test.go", "package proxy\nimport \"" + module + "/internal/test/testutil\"\nimport \"time\"\n" +
			"func f() { testutil.Bubble(nil, func() { time.Sleep(1) }) }\n",
		"proxy/f_test.go", "package proxy\nimport \"testing/synctest\"\nfunc f() { synctest.Test(nil, nil) }\n",
	}, "proxy/a_test.go:3 f", "proxy/d_test.go:4 f", "proxy/f_test.go:3 f")
}
