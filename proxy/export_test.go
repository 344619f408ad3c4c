package proxy

import "unsafe"

// SizeOfExchange is the size of an Exchange.
const SizeOfExchange = unsafe.Sizeof(Exchange{})

// WebSocketAccept returns the Sec-WebSocket-Accept for a key.
var WebSocketAccept = webSocketAccept
