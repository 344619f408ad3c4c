package lockdown

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// Lock is what holds for a process and for all that it starts.
// Immutable.
type Lock struct {
	Rules *Rules `json:"rules"`
	ABI   int    `json:"abi"`   // of Landlock; 0: files and ports are not limited
	Calls bool   `json:"calls"` // system calls are limited
}

// Variable describes the lock of a process to the processes that it starts: the kernel does not tell them what they may
// reach.
const Variable = "EDGE_LOCKDOWN"

var errForged = errors.New(Variable + " is set, but this process is not locked down: only edge sets it")

// Enforce limits the process to r. The Lock says what holds; the error, which wraps several, what does not: the kernel
// or the build of the program has not all of it. A process without a Lock is not limited.
func (r *Rules) Enforce() (*Lock, error) {
	l := &Lock{Rules: r}
	abi := landlockABI()
	err := r.restrictFiles(abi)
	if err == nil {
		l.ABI = abi
		if abi < abiPorts {
			err = fmt.Errorf("Landlock of this kernel (ABI %d) limits no ports: Linux 6.7 is the first to", abi)
		}
	}
	failed := restrictCalls() // after Landlock, whose calls it refuses
	l.Calls = failed == nil
	return l, errors.Join(err, failed)
}

// Inherited returns the lock that the process had from its start; nil: none.
func Inherited() (*Lock, error) {
	text := os.Getenv(Variable)
	if text == "" {
		return nil, nil
	}
	l := &Lock{}
	if err := json.Unmarshal([]byte(text), l); err != nil || l.Rules == nil {
		return nil, errors.Join(errForged, err)
	}
	// A lock leaves marks that no process can remove. Without them nothing is limited, whatever the variable says.
	if privileges, err := unix.PrctlRetInt(unix.PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0); err != nil || privileges != 1 {
		return nil, errForged
	}
	if mode, err := unix.PrctlRetInt(unix.PR_GET_SECCOMP, 0, 0, 0, 0); l.Calls && (err != nil || mode == 0) {
		return nil, errForged
	}
	return l, nil
}

// Environment returns the variable for a process to start; "" of a nil l.
func (l *Lock) Environment() string {
	if l == nil {
		return ""
	}
	text, _ := json.Marshal(l) // strings and numbers alone: it cannot fail
	return Variable + "=" + string(text)
}

// Whole reports whether files, ports and system calls are all limited.
func (l *Lock) Whole() bool { return l.ABI >= abiPorts && l.Calls }

// String says which parts hold.
func (l *Lock) String() string {
	parts := []string{}
	if l.ABI > 0 {
		parts = append(parts, "files")
	}
	if l.ABI >= abiPorts {
		parts = append(parts, "ports")
	}
	if l.Calls {
		parts = append(parts, "system calls")
	}
	if len(parts) == 0 {
		return "nothing"
	}
	return strings.Join(parts, ", ")
}
