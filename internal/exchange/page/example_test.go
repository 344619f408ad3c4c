package page_test

import (
	"fmt"

	"github.com/edge-proxy/edge/internal/exchange/page"
	"github.com/edge-proxy/edge/message"
)

func Example() {
	down, err := page.New("text/html; charset=utf-8", "<h1>Back in a moment</h1><p>{request_id}</p>\n")
	if err != nil {
		panic(err)
	}
	pages := &page.Set{}
	if err := pages.Add("5xx", down); err != nil {
		panic(err)
	}
	for _, accept := range []string{"text/html", "application/json"} {
		request := &message.Head{}
		request.Add("Accept", accept)
		contentType, body := page.Append(nil, &page.Facts{Status: 503, ID: "7"}, request, pages)
		fmt.Printf("%s\n%s", contentType, body)
	}
	// Output:
	// text/html; charset=utf-8
	// <h1>Back in a moment</h1><p>7</p>
	// application/json
	// {"status":503,"title":"Service Unavailable","error":"This site does not answer at the moment.","request_id":"7"}
}
