package cache

import (
	"fmt"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/internal/cache/policy"
	"github.com/edge-proxy/edge/message"
)

// What is written from a record is the head that it was made of, without the fields that no record has.
func FuzzRecord_roundTrip(f *testing.F) {
	f.Add("X-One: 1\nCache-Control: max-age=60\nConnection: x-hop\nX-Hop: 1\nAge: 5\nX-Empty: ", uint16(200), "body")
	f.Add("", uint16(404), "")
	f.Add("A: "+strings.Repeat("x", 70_000), uint16(200), "")
	f.Fuzz(func(t *testing.T, text string, status uint16, body string) {
		h := &message.Head{Status: status}
		for _, line := range strings.Split(text, "\n") {
			name, value, _ := strings.Cut(line, ": ")
			if message.ValidName(name) && message.ValidValue(value) {
				h.Add(name, value)
			}
		}
		a := policy.Answer{Fresh: policy.Freshness{Received: 1, Age: 2, Lifetime: 3}}
		r, _, ok := appendAnswer(nil, nil, nil, h, &a)
		large := false
		want := new(strings.Builder)
		for i := range h.Fields {
			if a.Keeps(h, i) {
				large = large || len(h.Name(i)) > 255 || len(h.Value(i)) > 1<<16-1
				fmt.Fprintf(want, "%s: %s\r\n", h.Name(i), h.Value(i))
			}
		}
		if !ok {
			if !large && len(h.Fields) <= 1<<12 {
				t.Fatal("no record of a head that is none too large")
			}
			return
		}
		record(r).setBodyLen(len(body))
		r = append(r, body...)
		got := new(message.Head)
		record(r).writeTo(got)
		lines := new(strings.Builder)
		for i := range got.Fields {
			fmt.Fprintf(lines, "%s: %s\r\n", got.Name(i), got.Value(i))
			if got.Fields[i].ID != message.LookupBytes(got.Name(i)) {
				t.Fatalf("field %s has the number %v", got.Name(i), got.Fields[i].ID)
			}
		}
		if lines.String() != want.String() || string(got.Base) != want.String() || got.Status != status {
			t.Fatalf("%d %q, want %d %q", got.Status, lines, status, want)
		}
		if string(record(r).body()) != body || record(r).fresh() != a.Fresh || record(r).kind() != isAnswer {
			t.Fatalf("%q %+v", record(r).body(), record(r).fresh())
		}
	})
}

// Two targets that differ in what stays of them have two keys, and what is dropped is never in the target that is sent.
func TestQuery_appendTarget(t *testing.T) {
	for _, c := range []struct {
		q            Query
		target, want string
	}{
		{Query{}, "/a?b&&c=1", "/a?b&&c=1"},
		{Query{Drop: []string{"b"}}, "/a?b=1&c=2&b", "/a?c=2"},
		{Query{Drop: []string{"b"}}, "/a?b", "/a"},
		{Query{Drop: []string{"utm_*"}}, "/a?utm_source=x&utm=1&UTM_x=2", "/a?utm=1&UTM_x=2"},
		{Query{Drop: []string{"*"}}, "/a?x&y=1", "/a"},
		{Query{Drop: []string{"b"}}, "/a?%62=1", "/a?%62=1"},
		{Query{Keep: []string{"b", "c*"}}, "/a?b=1&d=2&cc=3&%62=4", "/a?b=1&cc=3"},
		{Query{Sort: true}, "/a?b=2&a=1&b=1&a", "/a?a=1&a&b=2&b=1"},
		{Query{Sort: true}, "/a", "/a"},
		{Query{Sort: true}, "/a?", "/a"},
	} {
		got := c.target
		if c.q.changes() {
			p, _ := c.q.appendTarget(nil, nil, []byte(c.target))
			got = string(p)
		}
		if got != c.want {
			t.Errorf("%+v %s: %s, want %s", c.q, c.target, got, c.want)
		}
	}
}

// What a trusted proxy says of the request is a part of the key, what it says of the client is not.
func TestAppendHosts(t *testing.T) {
	of := func(fields ...string) string {
		h := new(message.Head)
		for i := 0; i < len(fields); i += 2 {
			h.Add(fields[i], fields[i+1])
		}
		return string(appendHosts(nil, h))
	}
	none := of()
	for _, c := range [][]string{
		{"X-Forwarded-For", "192.0.2.1"}, {"Forwarded", `for=192.0.2.1;by="[::1]"`}, {"Forwarded", "For=a, for=b"},
		{"X-Other", "a"},
	} {
		if of(c...) != none {
			t.Errorf("%v is a part of the key", c)
		}
	}
	for _, c := range [][]string{
		{"X-Forwarded-Host", "a"}, {"x-forwarded-prefix", "/a"}, {"X-Forwarded-Server", "a"}, {"X_Forwarded_Path", "a"},
		{"X-Original-URL", "/a"}, {"X-Rewrite-URL", "/a"}, {"X-Original-Host", "a"},
		{"X-Scheme", "https"}, {"X-Url-Scheme", "https"},
		{"Front-End-Https", "on"}, {"X-Original-Method", "POST"}, {"Forwarded", "for=b;host=a"},
		{"Forwarded", "for=b, proto=https"},
	} {
		if of(c...) == none {
			t.Errorf("%v is no part of the key", c)
		}
	}
}

// A field that is missing, an empty one and two of them have three keys.
func TestAppendField(t *testing.T) {
	seen := map[string]string{}
	for _, values := range [][]string{{}, {""}, {"", ""}, {"a"}, {"a", "b"}, {"ab"}, {"a\x00b"}} {
		h := new(message.Head)
		for _, v := range values {
			h.Add("X-A", v)
		}
		key, text := string(appendField(nil, h, "x-a")), fmt.Sprintf("%q", values)
		if other, found := seen[key]; found {
			t.Errorf("%s and %s have one key", text, other)
		}
		seen[key] = text
	}
}

// All fills whose keys have one hash are found, and removed, whatever the order.
func TestFillTable_collisions(t *testing.T) {
	var table fillTable
	table.init()
	s := table.of(7)
	var all []*fill
	for i := range 5 {
		f := &fill{}
		f.entry = entry{fill: f, hash: 7, key: []byte{byte(i)}}
		s.add(&f.entry)
		all = append(all, f)
	}
	for _, i := range []int{2, 4, 0, 3, 1} {
		for j, f := range all {
			if f != nil && s.find(7, []byte{byte(j)}) != &f.entry {
				t.Errorf("fill %d is not found", j)
			}
		}
		table.remove(all[i])
		table.remove(all[i]) // once more does nothing
		all[i] = nil
		if s.find(7, []byte{byte(i)}) != nil {
			t.Errorf("fill %d is still found", i)
		}
	}
	if len(s.fills) != 0 {
		t.Errorf("%d lists are left", len(s.fills))
	}
}
