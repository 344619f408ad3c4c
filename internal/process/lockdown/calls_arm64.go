package lockdown

import "golang.org/x/sys/unix"

const auditArch = unix.AUDIT_ARCH_AARCH64

// archCalls are the calls that have another name on this processor.
var archCalls = []uint32{
	unix.SYS_FSTATAT,
}
