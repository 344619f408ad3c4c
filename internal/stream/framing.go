package stream

// Framing is how the body of a message that is being sent is delimited.
type Framing uint8

// The framings.
const (
	NoHead     Framing = iota // the head was not sent yet
	NoBody                    // no byte of a body may follow: HEAD, 204, 304, Content-Length: 0
	Counted                   // Content-Length: left bytes to come
	Chunked                   // Transfer-Encoding: chunked
	UntilClose                // ended by the end of the connection; in a tunnel by FIN
	Ended                     // all was sent
)
