package server

import (
	"github.com/edge-proxy/edge/config"
	"github.com/edge-proxy/edge/proxy/page"
)

// pagesOf makes the pages of a key error_pages, and of rest for what they have none for; nil where there are none.
func pagesOf(list []config.ErrorPage, rest *page.Set) (*page.Set, error) {
	if len(list) == 0 {
		return rest, nil
	}
	s := &page.Set{Else: rest}
	for i := range list {
		c := &list[i]
		body, err := c.Read()
		if err != nil {
			return nil, err
		}
		p, err := page.New(c.Type, body)
		if err != nil {
			return nil, err
		}
		if err := s.Add(c.For, p); err != nil {
			return nil, err
		}
	}
	return s, nil
}
