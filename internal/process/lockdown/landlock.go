package lockdown

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// What each ABI of Landlock is the first to have.
const (
	abiTruncate = 3 // Linux 6.2
	abiPorts    = 4 // Linux 6.7
	abiDevices  = 5 // Linux 6.10
)

// The rights that rules give. A right that a ruleset handles and no rule gives is denied.
const (
	readRights  = unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_READ_DIR
	writeRights = readRights | unix.LANDLOCK_ACCESS_FS_WRITE_FILE | unix.LANDLOCK_ACCESS_FS_TRUNCATE |
		unix.LANDLOCK_ACCESS_FS_MAKE_REG | unix.LANDLOCK_ACCESS_FS_MAKE_DIR | unix.LANDLOCK_ACCESS_FS_MAKE_SOCK |
		unix.LANDLOCK_ACCESS_FS_REMOVE_FILE
	executeRights = unix.LANDLOCK_ACCESS_FS_EXECUTE | unix.LANDLOCK_ACCESS_FS_READ_FILE
	otherRights   = unix.LANDLOCK_ACCESS_FS_REMOVE_DIR | unix.LANDLOCK_ACCESS_FS_MAKE_CHAR |
		unix.LANDLOCK_ACCESS_FS_MAKE_FIFO | unix.LANDLOCK_ACCESS_FS_MAKE_BLOCK | unix.LANDLOCK_ACCESS_FS_MAKE_SYM |
		unix.LANDLOCK_ACCESS_FS_IOCTL_DEV // given to nothing

	// What a file can have that is no folder.
	fileRights = unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_WRITE_FILE |
		unix.LANDLOCK_ACCESS_FS_EXECUTE | unix.LANDLOCK_ACCESS_FS_TRUNCATE
)

// portRule is struct landlock_net_port_attr, and rulePort its kind.
type portRule struct{ access, port uint64 }

const rulePort = 2

var (
	errNoLandlock = errors.New("the kernel has no Landlock, or it is off: see /sys/kernel/security/lsm")
	errCgo        = errors.New("Landlock cannot hold for all threads of a program that was built with cgo: " +
		"CGO_ENABLED=0 builds one without")
)

// Missing returns what this build of the program lacks for a whole lock; nil: nothing. The kernel may lack more.
func Missing() error {
	if _, _, err := syscall.AllThreadsSyscall(unix.SYS_GETPID, 0, 0, 0); err == syscall.ENOTSUP {
		return errCgo
	}
	return nil
}

// landlockABI returns the version of Landlock; 0: there is none.
func landlockABI() int {
	abi, _, err := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if err != 0 {
		return 0
	}
	return int(abi)
}

// restrictFiles limits all threads to what r has, as far as abi goes.
func (r *Rules) restrictFiles(abi int) error {
	if abi == 0 {
		return errNoLandlock
	}
	fd, err := r.ruleset(abi)
	if err != nil {
		return fmt.Errorf("Landlock: %w", err)
	}
	defer unix.Close(fd) //nolint:errcheck // nothing was written
	// The kernel asks for no_new_privs of each thread: a program with more rights would not be limited.
	if _, _, err := syscall.AllThreadsSyscall6(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0, 0); err != 0 {
		if err == syscall.ENOTSUP {
			return errCgo
		}
		return os.NewSyscallError("prctl", err)
	}
	if _, _, err := syscall.AllThreadsSyscall(unix.SYS_LANDLOCK_RESTRICT_SELF, uintptr(fd), 0, 0); err != 0 {
		return os.NewSyscallError("landlock_restrict_self", err)
	}
	return nil
}

func (r *Rules) ruleset(abi int) (fd int, err error) {
	attr := handled(abi)
	// SAFETY: attr lives until the call returns, and the size is its own.
	n, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&attr)), sizeAt(abi), 0)
	if errno != 0 {
		return -1, os.NewSyscallError("landlock_create_ruleset", errno)
	}
	fd = int(n)
	for _, list := range []struct {
		paths  []string
		rights uint64
	}{{r.Read, readRights}, {r.Write, writeRights}, {r.Execute, executeRights}} {
		for _, path := range list.paths {
			if err = allowPath(fd, path, list.rights&attr.Handled_access_fs); err != nil {
				_ = unix.Close(fd)
				return -1, err
			}
		}
	}
	for _, port := range r.Ports {
		if abi < abiPorts {
			break
		}
		rule := portRule{access: unix.LANDLOCK_ACCESS_NET_BIND_TCP, port: uint64(port)}
		// SAFETY: rule lives until the call returns.
		if err = addRule(fd, rulePort, unsafe.Pointer(&rule)); err != nil {
			_ = unix.Close(fd)
			return -1, fmt.Errorf("port %d: %w", port, err)
		}
	}
	return fd, nil
}

// handled returns what a ruleset of that ABI denies unless a rule allows it.
func handled(abi int) unix.LandlockRulesetAttr {
	attr := unix.LandlockRulesetAttr{Handled_access_fs: writeRights | executeRights | otherRights}
	if abi < abiTruncate {
		attr.Handled_access_fs &^= unix.LANDLOCK_ACCESS_FS_TRUNCATE
	}
	if abi < abiDevices {
		attr.Handled_access_fs &^= unix.LANDLOCK_ACCESS_FS_IOCTL_DEV
	}
	if abi >= abiPorts {
		attr.Handled_access_net = unix.LANDLOCK_ACCESS_NET_BIND_TCP
	}
	return attr
}

// sizeAt returns how much of a LandlockRulesetAttr that ABI knows.
func sizeAt(abi int) uintptr {
	attr := unix.LandlockRulesetAttr{}
	if abi < abiPorts {
		return unsafe.Offsetof(attr.Handled_access_net)
	}
	return unsafe.Offsetof(attr.Handled_access_net) + unsafe.Sizeof(attr.Handled_access_net)
}

// allowPath adds a rule for a file, or for a folder with all that is below it. A path that is not there needs none.
func allowPath(ruleset int, path string, rights uint64) error {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return &os.PathError{Op: "open", Path: path, Err: err}
	}
	defer unix.Close(fd) //nolint:errcheck // nothing was written
	var at unix.Stat_t
	if err := unix.Fstat(fd, &at); err != nil {
		return &os.PathError{Op: "stat", Path: path, Err: err}
	}
	if at.Mode&unix.S_IFMT != unix.S_IFDIR {
		rights &= fileRights
	}
	rule := unix.LandlockPathBeneathAttr{Allowed_access: rights, Parent_fd: int32(fd)}
	// SAFETY: rule lives until the call returns.
	err = addRule(ruleset, unix.LANDLOCK_RULE_PATH_BENEATH, unsafe.Pointer(&rule))
	if errors.Is(err, unix.EBADFD) {
		return nil // a pipe, or another file that is on no disk: Landlock does not limit these
	}
	if err != nil {
		return &os.PathError{Op: "landlock_add_rule", Path: path, Err: err}
	}
	return nil
}

func addRule(ruleset int, kind uintptr, rule unsafe.Pointer) error {
	// SAFETY: the callers keep what rule points to until this returns.
	_, _, err := unix.Syscall6(unix.SYS_LANDLOCK_ADD_RULE, uintptr(ruleset), kind, uintptr(rule), 0, 0, 0)
	if err != 0 {
		return err
	}
	return nil
}
