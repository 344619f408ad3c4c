package sim

import (
	"syscall"

	"github.com/edge-proxy/edge/poller"
)

// ListenDatagrams says that there are none.
func (k *Kernel) ListenDatagrams(a poller.Addr, _ *poller.DatagramOptions) (poller.FD, poller.Addr, error) {
	return poller.NoFD, a, syscall.ENOSYS
}

// AdoptDatagrams says that there are none.
func (k *Kernel) AdoptDatagrams(poller.FD) (poller.Addr, error) { return poller.Addr{}, syscall.ENOSYS }

// ReadBatch says that there is no such call.
func (k *Kernel) ReadBatch(poller.FD, *poller.Batch) (int, syscall.Errno) { return 0, syscall.ENOSYS }

// WriteBatch says that there is no such call.
func (k *Kernel) WriteBatch(poller.FD, *poller.SendBatch, int) (int, syscall.Errno) {
	return 0, syscall.ENOSYS
}
