package admin

import (
	"context"
	"net/http"
	"net/netip"
	"net/url"
	"time"
)

// Geo is what a [Source] serves besides, where peers have positions:
//
//	GET /v1/geo                        GeoStatus
//	GET /v1/geo/lookup/IP?member=M     GeoPlace
type Geo interface {
	GeoStatus(ctx context.Context) (*GeoStatus, error)
	// GeoLookup says where an address is, as a member would tell the log; "" is the one that is asked.
	GeoLookup(ctx context.Context, ip netip.Addr, member string) (*GeoPlace, error)
}

// GeoPlace is where a member thinks that an address is.
type GeoPlace struct {
	IP       netip.Addr `json:"ip"`
	Member   string     `json:"member"`   // who was asked
	Known    bool       `json:"known"`    // else there is nothing more
	Position string     `json:"position"` // latitude,longitude
	RadiusKm int        `json:"radius_km,omitempty"`
	City     string     `json:"city,omitempty"`
	Country  string     `json:"country,omitempty"`
	Source   string     `json:"source,omitempty"` // configuration, settings or database
	Network  string     `json:"network,omitempty"`
}

// GeoStatus is what the members locate addresses with.
type GeoStatus struct {
	Members []GeoMember `json:"members"` // ascending by ID
	Differ  bool        `json:"differ"`  // members have other databases than most
	// Of the member that was asked:
	Path      string `json:"path,omitempty"` // of the database; "" = none is configured
	Refused   string `json:"refused,omitempty"`
	Overrides int    `json:"overrides"` // places of prefixes in its configuration
	Settings  int    `json:"settings"`  // in the cluster's settings
	// Peers of all members, by whether the log knows where they are.
	Located int `json:"peers_located"`
	Peers   int `json:"peers"`
}

// GeoMember is where one member is, and which database it has, by its last report.
type GeoMember struct {
	Name     string    `json:"name"`
	Position string    `json:"position"`       // "" = unknown
	Hash     string    `json:"hash,omitempty"` // first bytes of the SHA-256 of its database; "" = none
	Built    time.Time `json:"built,omitzero"`
	Type     string    `json:"type,omitempty"` // of the member that was asked
	Differs  bool      `json:"differs"`        // most members have another one
}

func (s *Server) geoRoutes(g Geo) {
	s.mux.HandleFunc("GET /v1/geo", func(w http.ResponseWriter, r *http.Request) {
		v, err := g.GeoStatus(r.Context())
		s.answer(w, "geo status", v, err)
	})
	s.mux.HandleFunc("GET /v1/geo/lookup/{ip}", func(w http.ResponseWriter, r *http.Request) {
		what := "locate " + r.PathValue("ip")
		ip, err := netip.ParseAddr(r.PathValue("ip"))
		if err != nil {
			s.fail(w, &Error{Status: http.StatusBadRequest, What: what, Why: "it is not an IP address"})
			return
		}
		v, err := g.GeoLookup(r.Context(), ip, r.URL.Query().Get("member"))
		s.answer(w, what, v, err)
	})
}

// GeoStatus implements [Geo].
func (c *Client) GeoStatus(ctx context.Context) (*GeoStatus, error) {
	return get[GeoStatus](ctx, c, http.MethodGet, "/v1/geo", nil)
}

// GeoLookup implements [Geo].
func (c *Client) GeoLookup(ctx context.Context, ip netip.Addr, member string) (*GeoPlace, error) {
	return get[GeoPlace](ctx, c, http.MethodGet, "/v1/geo/lookup/"+url.PathEscape(ip.String())+"?"+url.Values{"member": {member}}.Encode(), nil)
}
