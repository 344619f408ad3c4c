package lint

import "testing"

func TestPort(t *testing.T) { clean(t, "port") }

func TestPort_fires(t *testing.T) {
	fires(t, "port", files{
		"server/a_test.go", `package server
func f() {
	net.Listen("tcp", ":8080")
	net.Dial("tcp", addr("127.0.0.1:3000"))
	e.Listen(Options{Addr: "[::1]:9000"})
	net.Listen("tcp", "127.0.0.1:0")
	net.Dial("tcp", "127.0.0.1:1")
	parse(":8080")
}`,
		"server/b_test.go", "package server\nimport \"" + module + "/internal/test/sim\"\n" +
			"func f() { k.Dial(\":8080\") }\n",
		"server/c.go", "package server\nfunc f() { net.Listen(\"tcp\", \":8080\") }\n",
	}, "server/a_test.go:3 f", "server/a_test.go:4 f", "server/a_test.go:5 f")
}
