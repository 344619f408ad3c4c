package proxy

// AcceptOf is what a server answers to the key of a WebSocket.
func AcceptOf(key string) string { return acceptOf([]byte(key)) }
