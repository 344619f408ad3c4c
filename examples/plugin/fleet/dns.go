package fleet

import (
	"context"
	"fmt"
	"time"

	"github.com/libdns/libdns"
	"github.com/miekg/dns"

	"github.com/edge-proxy/edge"
)

// ZoneConfig has the keys of a table [dns_providers.NAME] with type = "fleet_zone".
type ZoneConfig struct {
	Server string      `edge:"server" doc:"The primary server of the zone." required:"true" example:"10.0.0.53:53"`
	Key    string      `edge:"key" doc:"The name of the key." required:"true" example:"edge."`
	Secret edge.Secret `edge:"secret" doc:"The key in base64." required:"true" example:"c2VjcmV0"`
}

func init() {
	edge.RegisterDNS("fleet_zone", "Updates a zone at its primary server, as RFC 2136 has it.", NewZone)
}

// NewZone makes a DNS provider.
func NewZone(c *ZoneConfig, b *edge.Build) (edge.DNSProvider, error) {
	c, err := edge.Completed(c, b)
	if err != nil {
		return nil, err
	}
	return fromLibDNS{&updates{c}}, nil // or &cloudflare.Provider{APIToken: …} of github.com/libdns/cloudflare
}

// fromLibDNS is any provider of libdns.
type fromLibDNS struct {
	libdns interface {
		libdns.RecordAppender
		libdns.RecordDeleter
	}
}

// Present adds a record to its zone.
func (p fromLibDNS) Present(ctx context.Context, r edge.DNSRecord) error {
	_, err := p.libdns.AppendRecords(ctx, r.Zone, recordsOf(r))
	return err
}

// CleanUp removes the record.
func (p fromLibDNS) CleanUp(ctx context.Context, r edge.DNSRecord) error {
	_, err := p.libdns.DeleteRecords(ctx, r.Zone, recordsOf(r))
	return err
}

func recordsOf(r edge.DNSRecord) []libdns.Record {
	return []libdns.Record{libdns.TXT{Name: libdns.RelativeName(r.Name, r.Zone), TTL: time.Minute, Text: r.Text}}
}

// updates is a provider of libdns for a zone that takes updates with a key (RFC 2136, RFC 8945).
type updates struct{ *ZoneConfig }

// AppendRecords implements libdns.RecordAppender.
func (u *updates) AppendRecords(ctx context.Context, zone string, all []libdns.Record) ([]libdns.Record, error) {
	return u.update(ctx, zone, all, (*dns.Msg).Insert)
}

// DeleteRecords implements libdns.RecordDeleter.
func (u *updates) DeleteRecords(ctx context.Context, zone string, all []libdns.Record) ([]libdns.Record, error) {
	return u.update(ctx, zone, all, (*dns.Msg).Remove)
}

func (u *updates) update(ctx context.Context, zone string, all []libdns.Record, change func(*dns.Msg, []dns.RR),
) ([]libdns.Record, error) {
	m := new(dns.Msg).SetUpdate(zone)
	for _, one := range all {
		r := one.RR()
		rr, err := dns.NewRR(fmt.Sprintf("%s %d IN %s %q", libdns.AbsoluteName(r.Name, zone), int(r.TTL.Seconds()),
			r.Type, r.Data))
		if err != nil {
			return nil, err
		}
		change(m, []dns.RR{rr})
	}
	m.SetTsig(u.Key, dns.HmacSHA256, 300, time.Now().Unix())
	c := &dns.Client{Net: "tcp", TsigSecret: map[string]string{u.Key: string(u.Secret)}}
	answer, _, err := c.ExchangeContext(ctx, m, u.Server)
	if err == nil && answer.Rcode != dns.RcodeSuccess {
		err = fmt.Errorf("%s refuses the update: %s", u.Server, dns.RcodeToString[answer.Rcode])
	}
	return all, err
}
