package lint

import "testing"

func TestSyscall(t *testing.T) { clean(t, "syscall") }

func TestSyscall_fires(t *testing.T) {
	const raw = "import \"syscall\"\nfunc f() { syscall.RawSyscall(0, 0, 0, 0) }\n"
	fires(t, "syscall", files{
		"poller/raw_linux.go", "package poller\n" + raw,
		"bench/floor/a.go", "package floor\n" + raw,
		"poller/epoll_linux.go", "package poller\n" + raw,
		"engine/a.go", "package engine\nimport \"golang.org/x/sys/unix\"\nfunc f() { unix.Syscall6() }\n",
		"engine/b.go", "package engine\n//go:linkname raw syscall.rawVforkSyscall\nfunc raw()\n",
		"engine/c.go", "package engine\nimport \"golang.org/x/sys/unix\"\nfunc f() { unix.Close(0) }\n",
	}, "poller/epoll_linux.go:3 f", "engine/a.go:3 f", "engine/b.go:2 linkname")
}
