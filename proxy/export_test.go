package proxy

import "unsafe"

// SizeOfExchange is the size of an Exchange.
const SizeOfExchange = unsafe.Sizeof(Exchange{})
