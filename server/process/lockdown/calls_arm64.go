package lockdown

import "golang.org/x/sys/unix"

const auditArch = unix.AUDIT_ARCH_AARCH64

// archCalls are what is named otherwise here.
var archCalls = []uint32{
	unix.SYS_FSTATAT,
}
