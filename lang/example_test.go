package lang_test

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/edge-proxy/edge/lang"
	"github.com/edge-proxy/edge/message"
)

// visit is what the variables of this program look at.
type visit struct{ client netip.Addr }

// Example compiles a condition and a template once, and evaluates them for a request.
func Example() {
	scope, err := lang.NewScope(lang.Names{Variables: []lang.Variable{{
		Name: "client.ip", Kind: lang.IP, Phases: lang.Always, Doc: "The address of the client.",
		IP: func(x *lang.X) netip.Addr { return x.Subject.(*visit).client },
	}}})
	if err != nil {
		fmt.Println(err)
		return
	}
	when, err := scope.Condition(`host == "old.example.com" and client.ip not in {10.0.0.0/8}`, lang.Request)
	if err != nil {
		fmt.Println(err)
		return
	}
	to, err := scope.Template(`https://new.example.com{target}`, lang.Request)
	if err != nil {
		fmt.Println(err)
		return
	}

	var head message.Head // a decoder fills it
	head.SetMethod("GET")
	head.SetTarget("/a?b=c")
	head.SetAuthority("Old.example.com")

	x := lang.X{Request: &head, State: lang.NewState(), Subject: &visit{netip.MustParseAddr("203.0.113.7")}}
	if when.Holds(&x) {
		fmt.Printf("%s\n", to.Append(nil, &x))
	}
	for _, clause := range when.Explain(&x) {
		fmt.Printf("%-5v %s: %s\n", clause.Holds, clause.Text, clause.Value)
	}
	// Output:
	// https://new.example.com/a?b=c
	// true  host == "old.example.com": old.example.com
	// true  client.ip not in {10.0.0.0/8}: 203.0.113.7
}

// ExampleError shows how a mistake is told.
func ExampleError() {
	scope, err := lang.NewScope(lang.Names{})
	if err != nil {
		fmt.Println(err)
		return
	}
	const text = `method == "GET" and $request_uri like "/a/*"`
	_, err = scope.Condition(text, lang.Request)
	var wrong *lang.Error
	if errors.As(err, &wrong) {
		fmt.Println(wrong.Caret(text))
		fmt.Println(wrong.Message+":", wrong.Hint)
	}
	// Output:
	// method == "GET" and $request_uri like "/a/*"
	//                     ^^^^^^^^^^^^
	// a name has no $: here it is called target
}
