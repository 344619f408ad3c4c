// Package shared has the exchanges of connections that many of them share, for each version of HTTP that has streams:
// HTTP/2 now. A Stream is one exchange, of either end; a Link is the connection of many.
//
// It knows no frames. The session of a version has a codec, embeds a Link, and is its Wire: it turns events of the
// codec into calls of Stream (GotHead, GotData, GotTrailers, GotReset), and is asked by streams to send. It decides in
// which order, how much, and when the connection itself ends.
//
//	codec ──► Wire ──Got…──► Stream ──On…──► Receiver
//	      ◄── Wire ◄─Send…── Stream ◄─Send…─ its sender
//
// # Batches
//
// Events come in batches. At the end of one the streams do what their methods postponed, since these make no callbacks,
// and have their turns to send. Outside of a batch a task of the same tick is such an end.
//
// # Times
//
// One timer serves all deadlines of a connection. ServerTimes says what a client has to do and how long it may take,
// ClientTimes says it of an origin.
//
// # Ownership
//
// All of it belongs to the reactor of the connection. A Stream that is over is used again for another exchange: its
// methods find no receiver then.
package shared
