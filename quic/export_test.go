package quic

// Asked returns the data of a PATH_CHALLENGE that c has read and not answered yet.
func (c *Conn) Asked() (data [8]byte, ok bool) {
	for _, a := range c.paths.asides {
		if a.kind == framePathResponse {
			return a.data, true
		}
	}
	return data, false
}

// Respond has c send a PATH_RESPONSE with data, whatever it was asked.
func (c *Conn) Respond(data [8]byte) {
	c.paths.add(aside{to: c.paths.used, id: *c.theirs.current(), kind: framePathResponse, data: data})
}
