package issue

import "context"

// Storage keeps certificates, accounts and the state of issuing, for this process and for others that share them. Keys
// are paths with slashes. The methods have the signatures of certmagic's Storage. Safe for any goroutine.
type Storage interface {
	// Store keeps a value, whole or not at all.
	Store(ctx context.Context, key string, value []byte) error

	// Load returns a value; the error is fs.ErrNotExist where there is none.
	Load(ctx context.Context, key string) ([]byte, error)

	// Delete removes a value, or all values below a key. It is no error that there is none.
	Delete(ctx context.Context, key string) error

	// List returns the keys below one, with recursive all of them. It is no error that there are none.
	List(ctx context.Context, path string, recursive bool) ([]string, error)

	// Lock waits until no other process has the lock of that name, and takes it. It is given back by Unlock, and when
	// the process ends.
	Lock(ctx context.Context, name string) error

	// Unlock gives a lock back.
	Unlock(ctx context.Context, name string) error
}
