package engine

import "errors"

// The causes with which a Conn closes, beside the errors of the kernel (syscall.Errno) and those of handlers.
var (
	ErrClosed         = errors.New("connection is closed")
	ErrReadFull       = errors.New("read buffer is full and its reader takes nothing")
	ErrQueueFull      = errors.New("send queue is full")
	ErrConnectTimeout = errors.New("connect timed out")
	ErrTimeout        = errors.New("timed out")
	ErrUnasked        = errors.New("bytes came that nobody had asked for")
	ErrPanic          = errors.New("handler panicked")
	ErrStopped        = errors.New("engine is stopped")
	ErrNoDescriptors  = errors.New("no descriptor left")
	ErrOffloadFull    = errors.New("offload queue is full")
)
