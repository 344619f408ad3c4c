package lockdown

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"unsafe"

	"golang.org/x/sys/unix"
)

// What struct seccomp_data has, by its offsets: the processors that edge runs on store the lower half first.
const (
	numberAt = 0
	archAt   = 4
	argsAt   = 16
	argSize  = 8
)

const (
	allowed = unix.SECCOMP_RET_ALLOW
	refused = unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)
	unknown = unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)
)

// newNamespaces are the flags of clone that make namespaces: in one of its own a process would have all capabilities.
const newNamespaces = unix.CLONE_NEWNS | unix.CLONE_NEWCGROUP | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC |
	unix.CLONE_NEWUSER | unix.CLONE_NEWPID | unix.CLONE_NEWNET

// families are the kinds of sockets that edge and Go's network packages open.
var families = []uint32{unix.AF_UNIX, unix.AF_INET, unix.AF_INET6, unix.AF_NETLINK}

// filter is a program of classic BPF for seccomp. Each step begins with the number of the call loaded.
// Owned by its maker.
type filter []unix.SockFilter

func (f *filter) add(code uint16, k uint32, jt, jf uint8) {
	*f = append(*f, unix.SockFilter{Code: code, Jt: jt, Jf: jf, K: k})
}

func (f *filter) load(offset uint32) { f.add(unix.BPF_LD|unix.BPF_W|unix.BPF_ABS, offset, 0, 0) }

func (f *filter) end(result uint32) { f.add(unix.BPF_RET|unix.BPF_K, result, 0, 0) }

// jump skips jt instructions where the condition holds, else jf.
func (f *filter) jump(condition uint16, k uint32, jt, jf int) {
	f.add(unix.BPF_JMP|unix.BPF_K|condition, k, uint8(jt), uint8(jf))
}

// makeFilter returns the filter for the calls of this processor. sealed says that the kernel knows memory files that
// nothing can execute: then there are no others.
func makeFilter(arch uint32, numbers []uint32, sealed bool) filter {
	var f filter
	f.load(archAt)
	f.jump(unix.BPF_JEQ, arch, 1, 0)
	f.end(refused) // calls of another processor, such as i386, have other numbers
	f.load(numberAt)

	f.jump(unix.BPF_JEQ, unix.SYS_CLONE3, 0, 1)
	f.end(unknown) // its flags are in memory, where a filter cannot read; C libraries use clone then

	f.jump(unix.BPF_JEQ, unix.SYS_CLONE, 0, 4)
	f.load(argsAt)
	f.jump(unix.BPF_JSET, newNamespaces, 0, 1)
	f.end(refused)
	f.end(allowed)

	f.jump(unix.BPF_JEQ, unix.SYS_SOCKET, 0, len(families)+3)
	f.load(argsAt)
	for i, family := range families {
		f.jump(unix.BPF_JEQ, family, len(families)-i, 0)
	}
	f.end(refused)
	f.end(allowed)

	if sealed {
		f.jump(unix.BPF_JEQ, unix.SYS_MEMFD_CREATE, 0, 4)
		f.load(argsAt + argSize)
		f.jump(unix.BPF_JSET, unix.MFD_NOEXEC_SEAL, 0, 1)
		f.end(allowed)
		f.end(refused)
	}
	f.ranges(numbers)
	return f
}

// ranges allows the calls with these numbers, and no others.
func (f *filter) ranges(numbers []uint32) {
	numbers = slices.Clone(numbers)
	slices.Sort(numbers)
	numbers = slices.Compact(numbers)
	for i := 0; i < len(numbers); {
		first := numbers[i]
		last := first
		for i++; i < len(numbers) && numbers[i] == last+1; i++ {
			last++
		}
		f.jump(unix.BPF_JGE, first, 1, 0)
		f.end(refused) // the numbers rise, so no later range has this one
		f.jump(unix.BPF_JGT, last, 1, 0)
		f.end(allowed)
	}
	f.end(refused)
}

var errArch = errors.New("seccomp: there is no list of system calls for this processor")

// restrictCalls limits all threads to the calls that edge makes.
func restrictCalls() error {
	if auditArch == 0 {
		return errArch
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	// TSYNC hands this on to the other threads.
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return os.NewSyscallError("prctl", err)
	}
	f := makeFilter(auditArch, slices.Concat(calls, archCalls), sealsMemory())
	program := unix.SockFprog{Len: uint16(len(f)), Filter: &f[0]}
	// SAFETY: program and f live until the call returns.
	thread, _, err := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC,
		uintptr(unsafe.Pointer(&program)))
	switch {
	case err != 0:
		return os.NewSyscallError("seccomp", err)
	case thread != 0:
		return fmt.Errorf("seccomp: thread %d has a filter of its own", thread)
	}
	return nil
}

// sealsMemory reports whether the kernel makes memory files that nothing can execute: Linux 6.3 and later.
func sealsMemory() bool {
	fd, err := unix.MemfdCreate("edge-lockdown", unix.MFD_CLOEXEC|unix.MFD_NOEXEC_SEAL)
	if err != nil {
		return false
	}
	_ = unix.Close(fd)
	return true
}
