package quic

import (
	"bytes"
	"reflect"
	"testing"
)

// fullParameters has a value for each parameter.
func fullParameters(t testing.TB) parameters {
	return parameters{
		present:  1<<paramOriginal | 1<<paramInitialSource | 1<<paramRetrySource | 1<<paramResetToken,
		original: *makeID(t, "original"), initialSource: *makeID(t, ""), retrySource: *makeID(t, "retry"),
		resetToken: [16]byte{9, 15: 8}, terms: terms{
			idle: 60000, payload: 1452, data: 1 << 21, streamLocal: 1, streamRemote: 2, streamOneWay: 3, streams: 128,
			streamsOneWay: 8, delayExponent: 20, ackDelay: 1<<14 - 1, ids: 4, noMigration: true,
		},
	}
}

func TestParameters_roundTrip(t *testing.T) {
	sent := fullParameters(t)
	b := sent.append(nil, 12345)
	var got parameters
	if err := got.parse(b, false); err != nil {
		t.Fatal(err)
	}
	for i := range integerParameters {
		sent.present |= 1 << integerParameters[i].id
	}
	sent.present |= 1 << paramNoMigration
	if !reflect.DeepEqual(sent, got) {
		t.Errorf("\n%+v\n%+v", sent, got)
	}
	// Each prefix is malformed, or confirms no ids, or has only lost parameters at its end.
	for n := range b {
		if err := got.parse(b[:n], false); err == nil && n < len(b)-12 {
			t.Errorf("cut to %d of %d", n, len(b))
		}
	}
}

func TestParameters_defaults(t *testing.T) {
	sent := defaultParameters
	sent.present = 1 << paramInitialSource
	b := sent.append(nil, 0)
	if !bytes.Equal(b, unhex(t, "0f00 3a00")) {
		t.Errorf("%x", b)
	}
	var got parameters
	if err := got.parse(b, true); err != nil || !reflect.DeepEqual(sent, got) {
		t.Errorf("%v, %+v", err, got)
	}
	for grease := range uint64(2 * greaseParameters / 1000) {
		b := sent.append(nil, grease*1000)
		r := reader{b: b[2:]}
		if id := r.integer(); id%31 != 27 || id < paramKinds {
			t.Fatalf("%x is no id for nothing", id)
		}
	}
}

func TestParameters_refuses(t *testing.T) {
	source := "0f00"
	preferred := "0d2a" + "00000000000000000000000000000000000000000000000001" + "0200000000000000000000000000000000"
	for _, c := range []struct {
		name   string
		wire   string
		client bool
		want   *Error
	}{
		{"nothing", "", true, errParameterID},
		{"no original id of a server", source, false, errParameterID},
		{"an id alone", source + "01", true, errParameter},
		{"a value that is cut", source + "010261", true, errParameter},
		{"a length above all", source + "01ffffffffffffffff", true, errParameter},
		{"a parameter twice", source + "0f00", true, errParameterTwice},
		{"an integer twice", source + "010105" + "010105", true, errParameterTwice},
		{"the original id of a client", source + "0000", true, errParameterForbidden},
		{"a reset token of a client", source + "0210" + "00000000000000000000000000000000", true,
			errParameterForbidden},
		{"a preferred address of a client", source + preferred, true, errParameterForbidden},
		{"the id of a Retry of a client", source + "1000", true, errParameterForbidden},
		{"a token of 15 octets", source + "0000" + "020f" + "000000000000000000000000000000", false, errParameter},
		{"a token of 17 octets", source + "0000" + "0211" + "0000000000000000000000000000000000", false, errParameter},
		{"an id of 21 octets", "0f15" + "000000000000000000000000000000000000000000", true, errParameter},
		{"a value for no migration", source + "0c0100", true, errParameter},
		{"a payload of 1199", source + "030244af", true, errParameter},
		{"an exponent of 21", source + "0a0115", true, errParameter},
		{"a delay of 2^14", source + "0b0480004000", true, errParameter},
		{"one id", source + "0e0101", true, errParameter},
		{"more than 2^60 streams", source + "0808d000000000000001", true, errParameter},
		{"an integer with more after it", source + "04020101", true, errParameter},
		{"an empty integer", source + "0400", true, errParameter},
		{"half of an integer", source + "040180", true, errParameter},
		{"a preferred address without an id", source + "0000" + "0d29" +
			"00000000000000000000000000000000000000000000000000" + "00000000000000000000000000000000", false,
			errParameter},
		{"an unknown parameter", source + "405503aabbcc" + "405500", true, nil},
		{"a preferred address", source + "0000" + preferred, false, nil},
		{"a payload of 1200", source + "030244b0", true, nil},
	} {
		var p parameters
		if err := p.parse(unhex(t, c.wire), c.client); err != c.want {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestParameters_confirm(t *testing.T) {
	p := fullParameters(t)
	source, original, retry, other := makeID(t, ""), makeID(t, "original"), makeID(t, "retry"), makeID(t, "other")
	without := p
	without.present &^= 1 << paramRetrySource
	for i, c := range []struct {
		p                       *parameters
		source, original, retry *ID
		ok                      bool
	}{
		{&p, source, original, retry, true},
		{&p, other, original, retry, false},
		{&p, source, other, retry, false},
		{&p, source, original, other, false},
		{&p, source, original, nil, false},
		{&without, source, original, nil, true},
		{&without, source, original, retry, false},
		{&without, source, nil, nil, true},
	} {
		if err := c.p.confirm(c.source, c.original, c.retry); (err == nil) != c.ok {
			t.Errorf("case %d: %v", i, err)
		}
	}
}

func FuzzParameters(f *testing.F) {
	p := fullParameters(f)
	f.Add(p.append(nil, 7), false)
	p.present = 1 << paramInitialSource
	f.Add(p.append(nil, 7), true)
	f.Fuzz(func(t *testing.T, b []byte, fromClient bool) {
		var p, again parameters
		if err := p.parse(b, fromClient); err != nil {
			if err.Code != TransportParameterError {
				t.Fatal(err)
			}
			return
		}
		if err := again.parse(p.append(nil, uint64(len(b))), fromClient); err != nil {
			t.Fatalf("%v when written again: %+v", err, p)
		}
		p.present, again.present = 0, 0
		if !reflect.DeepEqual(p, again) {
			t.Fatalf("\n%+v\n%+v", p, again)
		}
	})
}
