package quic

import "testing"

func without(id parameterID) func(*parameters) { return func(p *parameters) { p.present &^= 1 << id } }
func with(id parameterID) func(*parameters)    { return func(p *parameters) { p.present |= 1 << id } }

// RFC 9000 §7.3, §7.4, §18.2: parameters of the peer, as a Conn takes them.
func TestParameters_ofAConn(t *testing.T) {
	const wrong = TransportParameterError
	other, _ := MakeID([]byte("somebody"))
	for name, c := range map[string]struct {
		code   Code
		role   Role // of conn
		change func(p *parameters)
		raw    []byte // appended
	}{
		"right, to a server":         {NoError, Server, nil, nil},
		"right, to a client":         {NoError, Client, nil, nil},
		"another source":             {wrong, Server, func(p *parameters) { p.initialSource = other }, nil},
		"another source of a server": {wrong, Client, func(p *parameters) { p.initialSource = other }, nil},
		"no source":                  {wrong, Server, without(paramInitialSource), nil},
		"no source of a server":      {wrong, Client, without(paramInitialSource), nil},
		"another original":           {wrong, Client, func(p *parameters) { p.original = other }, nil},
		"no original":                {wrong, Client, without(paramOriginal), nil},
		"a source of a Retry":        {wrong, Client, with(paramRetrySource), nil},
		"an original of a client":    {wrong, Server, with(paramOriginal), nil},
		"a token of a client":        {wrong, Server, with(paramResetToken), nil},
		"datagrams of 1199":          {wrong, Server, func(p *parameters) { p.payload = 1199 }, nil},
		"datagrams of 1200":          {NoError, Server, func(p *parameters) { p.payload = 1200 }, nil},
		"an exponent of 21":          {wrong, Server, func(p *parameters) { p.delayExponent = 21 }, nil},
		"an exponent of 20":          {NoError, Server, func(p *parameters) { p.delayExponent = 20 }, nil},
		"a delay of 2^14":            {wrong, Server, func(p *parameters) { p.ackDelay = 1 << 14 }, nil},
		"one id":                     {wrong, Server, func(p *parameters) { p.ids = 1 }, nil},
		"streams above 2^60":         {wrong, Server, func(p *parameters) { p.streams = 1<<60 + 1 }, nil},
		"one-way streams above 2^60": {wrong, Server, func(p *parameters) {
			p.streamsOneWay = 1<<60 + 1
		}, nil},
		"twice":   {wrong, Server, nil, []byte{4, 1, 5}},
		"cut":     {wrong, Server, nil, []byte{0x21, 5, 1}},
		"unknown": {NoError, Server, nil, []byte{0x21, 2, 1, 1}},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, c.role, Options{})
			r.in(Initial, ping)
			r.out()
			var p parameters
			if err := p.parse(r.parameters(), c.role == Server); err != nil {
				t.Fatal(err)
			}
			if c.change != nil {
				c.change(&p)
			}
			err := r.conn.SetParameters(append(p.append(nil, 0), c.raw...))
			r.drive()
			if c.code == NoError {
				if err != nil {
					t.Fatal(err)
				}
				r.wantOpen()
				return
			}
			r.wantFault(c.code)
			r.conn.HandshakeDone()
			if r.drive(); len(r.events) != 1 {
				t.Errorf("%q", r.events)
			}
		})
	}
	r := newRig(t, Server, Options{})
	r.in(Initial, ping)
	r.keysOf(Handshake)
	r.keysOf(OneRTT)
	r.conn.HandshakeDone() // RFC 9001 §8.2: without any
	r.drive()
	r.wantFault(CryptoError(109)) // missing_extension
}

// What a Conn says of itself: the ids, the token of a server the windows; a client may move.
func TestParameters_thatAConnSends(t *testing.T) {
	for _, role := range []Role{Server, Client} {
		r := newRig(t, role, Options{Budget: 1 << 20, StreamWindow: 5000, Streams: 7, OneWayStreams: -1})
		var p parameters
		if err := p.parse(r.conn.AppendParameters(nil), role == Client); err != nil {
			t.Fatal(err)
		}
		if p.initialSource != r.first || p.has(paramOriginal) != (role == Server) ||
			p.has(paramResetToken) != (role == Server) || p.noMigration ||
			p.original != map[Role]ID{Server: r.original}[role] {
			t.Errorf("role %d: %+v", role, p)
		}
		if p.data != 1<<20 || p.streamLocal != 5000 || p.streamRemote != 5000 || p.streams != 7 ||
			p.streamsOneWay != 0 ||
			p.ids != idsKept || p.idle != 60_000 || p.has(paramRetrySource) || p.has(paramPreferred) {
			t.Errorf("role %d: %+v", role, p)
		}
	}
}
