package lockdown

import (
	"encoding/binary"
	"slices"
	"testing"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// decide runs a filter on a call, as the kernel would. The machine of package bpf reads big-endian numbers.
func decide(t *testing.T, f filter, arch, number uint32, args ...uint32) uint32 {
	t.Helper()
	raw := make([]bpf.RawInstruction, len(f))
	for i, step := range f {
		raw[i] = bpf.RawInstruction{Op: step.Code, Jt: step.Jt, Jf: step.Jf, K: step.K}
	}
	program, whole := bpf.Disassemble(raw)
	if !whole {
		t.Fatal("the filter has instructions that there are not")
	}
	machine, err := bpf.NewVM(program)
	if err != nil {
		t.Fatal(err)
	}
	call := make([]byte, argsAt+6*argSize)
	binary.BigEndian.PutUint32(call[numberAt:], number)
	binary.BigEndian.PutUint32(call[archAt:], arch)
	for i, arg := range args {
		binary.BigEndian.PutUint32(call[argsAt+i*argSize:], arg)
	}
	result, err := machine.Run(call)
	if err != nil {
		t.Fatal(err)
	}
	return uint32(result)
}

// Each call of the lists passes, each other one does not, and those with a condition follow it.
func TestFilter_numbers(t *testing.T) {
	numbers := slices.Concat(calls, archCalls)
	f := makeFilter(auditArch, numbers, false)
	for number := range uint32(700) {
		want := uint32(refused)
		switch {
		case number == unix.SYS_CLONE3:
			want = unknown
		case number == unix.SYS_CLONE || slices.Contains(numbers, number):
			want = allowed
		}
		if got := decide(t, f, auditArch, number); number != unix.SYS_SOCKET && got != want {
			t.Errorf("call %d: %#x, want %#x", number, got, want)
		}
	}
	for _, number := range []uint32{unix.SYS_PTRACE, unix.SYS_MOUNT, unix.SYS_BPF, unix.SYS_EXECVEAT, unix.SYS_UNSHARE,
		unix.SYS_IO_URING_SETUP, unix.SYS_KEYCTL, unix.SYS_PROCESS_VM_READV, unix.SYS_INIT_MODULE, 0x40000000} {
		if got := decide(t, f, auditArch, number); got != refused {
			t.Errorf("call %d: %#x", number, got)
		}
	}
	if got := decide(t, f, auditArch+1, unix.SYS_READ); got != refused {
		t.Errorf("read of another processor: %#x", got)
	}
}

func TestFilter_conditions(t *testing.T) {
	for _, c := range []struct {
		name   string
		sealed bool
		call   []uint32
		want   uint32
	}{
		{"a thread", true, []uint32{unix.SYS_CLONE, unix.CLONE_VM | unix.CLONE_THREAD}, allowed},
		{"a user namespace", true, []uint32{unix.SYS_CLONE, unix.CLONE_NEWUSER | unix.CLONE_VM}, refused},
		{"a network namespace", true, []uint32{unix.SYS_CLONE, unix.CLONE_NEWNET}, refused},
		{"IPv4", true, []uint32{unix.SYS_SOCKET, unix.AF_INET}, allowed},
		{"IPv6", true, []uint32{unix.SYS_SOCKET, unix.AF_INET6}, allowed},
		{"unix", true, []uint32{unix.SYS_SOCKET, unix.AF_UNIX}, allowed},
		{"netlink", true, []uint32{unix.SYS_SOCKET, unix.AF_NETLINK}, allowed},
		{"packet", true, []uint32{unix.SYS_SOCKET, unix.AF_PACKET}, refused},
		{"vsock", true, []uint32{unix.SYS_SOCKET, unix.AF_VSOCK}, refused},
		{"no family", true, []uint32{unix.SYS_SOCKET, 0}, refused},
		{"memory", true, []uint32{unix.SYS_MEMFD_CREATE, 1, unix.MFD_CLOEXEC}, refused},
		{"sealed memory", true, []uint32{unix.SYS_MEMFD_CREATE, 1, unix.MFD_NOEXEC_SEAL}, allowed},
		{"memory of an older kernel", false, []uint32{unix.SYS_MEMFD_CREATE, 1, 0}, allowed},
		{"after a condition", true, []uint32{unix.SYS_READ}, allowed},
	} {
		f := makeFilter(auditArch, slices.Concat(calls, archCalls), c.sealed)
		if got := decide(t, f, auditArch, c.call[0], c.call[1:]...); got != c.want {
			t.Errorf("%s: %#x, want %#x", c.name, got, c.want)
		}
	}
}
