package packaging

import (
	"bytes"
	"encoding/binary"
	"maps"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// What the unit does not allow fails below its filter: that edge runs there means something.
func TestFilter_refuses(t *testing.T) {
	filter := readUnit(t, unitFile).filter(t)
	for _, c := range []struct {
		command []string
		want    string
	}{
		{[]string{"unshare", "-r", "true"}, "Operation not permitted"},
		{[]string{"chroot", "/", "true"}, "Operation not permitted"},
		{[]string{"perl", "-e", `socket(S, 17, 3, 0) or die "$!\n"`}, "Address family not supported"}, // AF_PACKET
		{[]string{"dd", "if=/dev/null", "of=/etc/edge-was-here"}, "Read-only file system"},
	} {
		tool(t, c.command[0])
		s := startSandbox(t, []string{"--ro-bind", "/", "/", "--dev-bind", "/dev/null", "/dev/null"}, c.command, filter)
		code := s.process.Wait(testutil.Minutes)
		if code == 0 || !strings.Contains(s.process.Output(), c.want) {
			t.Errorf("%q: exit code %d, %s", c.command, code, s.process.Output())
		}
	}
}

// filter returns the program that seccomp is to run by the lines of the unit, as systemd makes it: EPERM for system
// calls that are not listed, for memory that is both written and run, and for new namespaces; EAFNOSUPPORT for other
// families of sockets.
func (u unit) filter(t *testing.T) []byte {
	t.Helper()
	if runtime.GOARCH != "amd64" {
		t.Skip("the numbers of system calls are those of amd64")
	}
	numbers, sets := callNumbers(t), callSets(t)
	allowed := map[string]bool{}
	for _, word := range u.words("SystemCallFilter") {
		name, refused := strings.CutPrefix(word, "~")
		for _, call := range sets.expand(name) {
			allowed[call] = !refused
		}
	}
	for _, call := range []string{"unshare", "setns", "clone3", "personality"} { // RestrictNamespaces, LockPersonality
		delete(allowed, call)
	}
	var families []uint32
	for _, name := range u.words("RestrictAddressFamilies") {
		families = append(families, map[string]uint32{"AF_UNIX": unix.AF_UNIX, "AF_INET": unix.AF_INET,
			"AF_INET6": unix.AF_INET6, "AF_NETLINK": unix.AF_NETLINK}[name])
	}
	p := newAssembly(numbers)
	if slices.Equal(u.words("MemoryDenyWriteExecute"), []string{"yes"}) {
		p.refuse("mmap", 2, unix.PROT_WRITE|unix.PROT_EXEC, unix.PROT_WRITE|unix.PROT_EXEC)
		p.refuse("mprotect", 2, unix.PROT_EXEC, unix.PROT_EXEC)
		p.refuse("pkey_mprotect", 2, unix.PROT_EXEC, unix.PROT_EXEC)
	}
	for _, flag := range []uint32{unix.CLONE_NEWNS, unix.CLONE_NEWUSER, unix.CLONE_NEWNET, unix.CLONE_NEWPID} {
		p.refuse("clone", 0, flag, flag)
	}
	p.families(families)
	p.answer("clone3", unix.ENOSYS) // so that the C library takes clone, as systemd has it
	for _, call := range slices.Sorted(maps.Keys(allowed)) {
		if _, known := numbers[call]; known && allowed[call] {
			p.allow(call)
		}
	}
	return p.bytes()
}

// callNumbers returns the numbers of system calls of this machine.
func callNumbers(t *testing.T) map[string]uint32 {
	t.Helper()
	text, err := os.ReadFile("/usr/include/x86_64-linux-gnu/asm/unistd_64.h")
	if err != nil {
		t.Skipf("%v: make packages-deps", err)
	}
	numbers := map[string]uint32{}
	for _, m := range regexp.MustCompile(`(?m)^#define __NR_(\w+) (\d+)$`).FindAllStringSubmatch(string(text), -1) {
		n, err := strconv.ParseUint(m[2], 10, 32)
		if err != nil {
			t.Fatal(err)
		}
		numbers[m[1]] = uint32(n)
	}
	return numbers
}

// callSets are the sets of system calls of systemd: "@io-event" has names, and names of other sets.
type setsOfCalls map[string][]string

func callSets(t *testing.T) setsOfCalls {
	t.Helper()
	out, err := exec.Command(tool(t, "systemd-analyze"), "syscall-filter").Output()
	if err != nil {
		t.Fatal(err)
	}
	sets, in := setsOfCalls{}, ""
	for line := range strings.Lines(string(out)) {
		name := strings.TrimSpace(line)
		switch {
		case name == "" || strings.HasPrefix(name, "#"):
		case strings.HasPrefix(line, "@"):
			in = name
		default:
			sets[in] = append(sets[in], name)
		}
	}
	return sets
}

func (s setsOfCalls) expand(name string) (calls []string) {
	if !strings.HasPrefix(name, "@") {
		return []string{name}
	}
	for _, member := range s[name] {
		calls = append(calls, s.expand(member)...)
	}
	return calls
}

// assembly is a classic BPF program for seccomp. Each step begins and ends with the number of the call loaded.
type assembly struct {
	numbers map[string]uint32
	code    []unix.SockFilter
}

const (
	load  = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
	equal = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
	and   = unix.BPF_ALU | unix.BPF_AND | unix.BPF_K
	ret   = unix.BPF_RET | unix.BPF_K

	numberAt, archAt, argsAt = 0, 4, 16 // struct seccomp_data
)

func newAssembly(numbers map[string]uint32) *assembly {
	p := &assembly{numbers: numbers}
	p.add(load, 0, 0, archAt)
	p.add(equal, 1, 0, unix.AUDIT_ARCH_X86_64)
	p.add(ret, 0, 0, unix.SECCOMP_RET_ERRNO|uint32(unix.EPERM))
	p.add(load, 0, 0, numberAt)
	return p
}

func (p *assembly) add(code uint16, yes, no uint8, k uint32) {
	p.code = append(p.code, unix.SockFilter{Code: code, Jt: yes, Jf: no, K: k})
}

// refuse answers EPERM to a call of which the bits of an argument under mask are bits.
func (p *assembly) refuse(call string, arg, mask, bits uint32) {
	p.add(equal, 0, 5, p.numbers[call])
	p.add(load, 0, 0, argsAt+8*arg)
	p.add(and, 0, 0, mask)
	p.add(equal, 0, 1, bits)
	p.add(ret, 0, 0, unix.SECCOMP_RET_ERRNO|uint32(unix.EPERM))
	p.add(load, 0, 0, numberAt)
}

// families lets socket(2) make sockets of these families alone.
func (p *assembly) families(of []uint32) {
	p.add(equal, 0, uint8(len(of)+3), p.numbers["socket"])
	p.add(load, 0, 0, argsAt)
	for i, f := range of {
		p.add(equal, uint8(len(of)-i), 0, f)
	}
	p.add(ret, 0, 0, unix.SECCOMP_RET_ERRNO|uint32(unix.EAFNOSUPPORT))
	p.add(load, 0, 0, numberAt)
}

func (p *assembly) answer(call string, err unix.Errno) {
	p.add(equal, 0, 1, p.numbers[call])
	p.add(ret, 0, 0, unix.SECCOMP_RET_ERRNO|uint32(err))
}

func (p *assembly) allow(call string) {
	p.add(equal, 0, 1, p.numbers[call])
	p.add(ret, 0, 0, unix.SECCOMP_RET_ALLOW)
}

func (p *assembly) bytes() []byte {
	p.add(ret, 0, 0, unix.SECCOMP_RET_ERRNO|uint32(unix.EPERM))
	var b bytes.Buffer
	if err := binary.Write(&b, binary.NativeEndian, p.code); err != nil {
		panic(err)
	}
	return b.Bytes()
}
