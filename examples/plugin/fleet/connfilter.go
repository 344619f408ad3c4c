package fleet

import (
	"net/netip"
	"slices"

	"github.com/edge-proxy/edge"
	"github.com/edge-proxy/edge/session"
)

// DoorConfig has the keys of a table [connection_filters.NAME] with type = "fleet_door".
type DoorConfig struct {
	Deny  []netip.Prefix `edge:"deny" doc:"Addresses that are closed." example:"192.0.2.0/24"`
	Names []string       `edge:"names" doc:"Names that clients with TLS may ask for; none: any." example:"a.example"`
}

func init() {
	edge.RegisterConnectionFilter("fleet_door", "Closes connections by address and by name.", NewDoor)
}

// NewDoor makes a connection filter.
func NewDoor(c *DoorConfig, b *edge.Build) (*session.ConnFilter, error) {
	c, err := edge.Completed(c, b)
	if err != nil {
		return nil, err
	}
	return &session.ConnFilter{
		Accept: func(conn session.ConnInfo) bool { // nothing was read yet
			ip := conn.Peer.IP.Addr().Unmap()
			return !slices.ContainsFunc(c.Deny, func(p netip.Prefix) bool { return p.Contains(ip) })
		},
		Secure: func(conn session.ConnInfo) bool { // the handshake is done
			return len(c.Names) == 0 || slices.Contains(c.Names, conn.TLS.ServerName)
		},
	}, nil
}
