package admin

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"time"
)

// Steering is what a [Source] serves besides, where peers are steered:
//
//	GET /v1/explain/PEER-OR-IP?member=MEMBER   Explanations
//	GET /v1/rtt?within=PREFIX&member=MEMBER&limit=N   RoundTrips
//	GET /v1/steering                           SteeringStats
type Steering interface {
	// Explain explains for each family in which the peer is attached, or for that of an IP.
	Explain(ctx context.Context, who, member string) (*Explanations, error)
	RoundTrips(ctx context.Context, f RTTFilter) (*RoundTrips, error)
	SteeringStats(ctx context.Context) (*SteeringStats, error)
}

// Explanations are why a peer stays or moves.
type Explanations struct {
	Who      string        `json:"who"`      // as asked
	Index    uint64        `json:"index"`    // of the log: all members decide the same at it
	Steering string        `json:"steering"` // on, off, shadow
	Families []Explanation `json:"families"`
}

// Explanation is one decision with all its terms. Costs and round trips are in milliseconds.
type Explanation struct {
	Family   string     `json:"family"` // v4 or v6
	Address  netip.Addr `json:"address,omitzero"`
	Position string     `json:"position,omitempty"` // latitude,longitude; "" = unknown
	RadiusKm int        `json:"radius_km,omitempty"`
	Software string     `json:"client_family"` // F0 to F6, or unknown
	Member   string     `json:"member,omitempty"`
	Best     string     `json:"best,omitempty"`
	Target   string     `json:"target,omitempty"` // "" = it stays
	Reason   string     `json:"reason"`

	Gain float64 `json:"gain_ms"` // cost of the present member less that of the best
	Need Need    `json:"need"`

	Rest       float64 `json:"rest_seconds"` // for how long it is not moved again
	MovesLeft  int     `json:"moves_left"`
	Failed     string  `json:"failed,omitempty"` // left out after a failed handoff
	FailedRest float64 `json:"failed_seconds,omitempty"`

	Costs []Cost `json:"costs"` // ascending by member ID

	Handoff HandoffHistory `json:"handoff"`
	Shadow  *ShadowResult  `json:"shadow,omitempty"` // nil: there are no other rules
}

// Need is the gain in milliseconds that a move must bring: the greatest of the terms, and the spread.
type Need struct {
	Margin    float64 `json:"margin_ms"`
	Percent   float64 `json:"percent_ms"`
	Deviation float64 `json:"deviation_ms"`
	Radius    float64 `json:"radius_ms"`
	Back      float64 `json:"back_ms"` // to the member that it came from, within an hour
	Spread    float64 `json:"spread_ms"`
	Total     float64 `json:"total_ms"`
}

// Cost is what a member costs: (Measured, or Access + Distance) * 100 / Weight + Load.
type Cost struct {
	Member   string   `json:"member"`
	Out      string   `json:"out,omitempty"` // why it may not take the peer
	Km       int64    `json:"km"`            // -1 = unknown
	Distance *float64 `json:"distance_ms,omitempty"`
	Access   float64  `json:"access_ms,omitempty"`
	Measured *float64 `json:"measured_ms,omitempty"`
	Dev      float64  `json:"deviation_ms,omitempty"`
	Samples  int      `json:"samples,omitempty"`
	Wide     bool     `json:"wide,omitempty"` // measured of the wider neighbourhood
	Weight   int      `json:"weight"`
	Load     float64  `json:"load_ms,omitempty"`
	Cost     float64  `json:"cost_ms"`
}

// HandoffHistory is what the cluster did to a peer.
type HandoffHistory struct {
	UnderWay string    `json:"under_way,omitempty"` // target
	From     string    `json:"from,omitempty"`
	At       time.Time `json:"at,omitzero"` // of the last handoff or push
	Since    time.Time `json:"attached_since,omitzero"`
	Moves    int       `json:"moves"`
	Fails    int       `json:"failed_in_a_row"`
}

// ShadowResult is what other rules would do.
type ShadowResult struct {
	Target string `json:"target,omitempty"`
	Reason string `json:"reason"`
}

// RTTFilter chooses measured round trips.
type RTTFilter struct {
	Within netip.Prefix // areas that overlap it; zero = all
	Member string
	Limit  int // 0 = 1000
}

// RoundTrips are what members measured, by area.
type RoundTrips struct {
	Total int         `json:"total"` // in the log
	Rows  []RoundTrip `json:"rows"`  // those chosen, at most as many as asked for
	More  bool        `json:"more"`  // there are others
}

// RoundTrip is what one member measured of one area.
type RoundTrip struct {
	Area    netip.Prefix `json:"area"`
	Member  string       `json:"member"`
	RTT     float64      `json:"rtt_ms"`
	Dev     float64      `json:"deviation_ms"`
	Samples int          `json:"samples"`
	At      time.Time    `json:"at"`
}

// SteeringStats are what members decided since they started, and what other rules would have decided.
type SteeringStats struct {
	Steering string              `json:"steering"` // on, off, shadow
	Rules    string              `json:"shadow"`   // of steering_shadow; "" = none
	Members  []SteeringDecisions `json:"members"`  // ascending by ID
	Total    SteeringDecisions   `json:"total"`
}

// SteeringDecisions count decisions of one member.
type SteeringDecisions struct {
	Member    string `json:"member,omitempty"`
	Error     string `json:"error,omitempty"` // it did not answer
	Decisions uint64 `json:"decisions"`
	Moves     uint64 `json:"moves"` // of them: to hand off
	Held      uint64 `json:"held"`  // of these: not carried out, because steering is off or shadow
	// What the rules of steering_shadow would have done:
	Same      uint64 `json:"shadow_same"`
	More      uint64 `json:"shadow_moves"` // hand off where the peer stayed
	Fewer     uint64 `json:"shadow_stays"` // stay where the peer was handed off
	Elsewhere uint64 `json:"shadow_elsewhere"`
}

// Add adds o's counts.
func (d *SteeringDecisions) Add(o SteeringDecisions) {
	d.Decisions, d.Moves, d.Held = d.Decisions+o.Decisions, d.Moves+o.Moves, d.Held+o.Held
	d.Same, d.More, d.Fewer, d.Elsewhere = d.Same+o.Same, d.More+o.More, d.Fewer+o.Fewer, d.Elsewhere+o.Elsewhere
}

func (s *Server) steeringRoutes(o Steering) {
	s.mux.HandleFunc("GET /v1/explain/{who}", func(w http.ResponseWriter, r *http.Request) {
		v, err := o.Explain(r.Context(), r.PathValue("who"), r.URL.Query().Get("member"))
		s.answer(w, "explain "+r.PathValue("who"), v, err)
	})
	s.mux.HandleFunc("GET /v1/rtt", func(w http.ResponseWriter, r *http.Request) {
		f, err := parseRTTFilter(r.URL.Query())
		if err != nil {
			s.fail(w, &Error{Status: http.StatusBadRequest, What: "list round trips", Why: err.Error()})
			return
		}
		v, err := o.RoundTrips(r.Context(), f)
		s.answer(w, "list round trips", v, err)
	})
	s.mux.HandleFunc("GET /v1/steering", func(w http.ResponseWriter, r *http.Request) {
		v, err := o.SteeringStats(r.Context())
		s.answer(w, "steering", v, err)
	})
}

func parseRTTFilter(q url.Values) (f RTTFilter, err error) {
	f.Member = q.Get("member")
	if text := q.Get("within"); text != "" {
		if f.Within, err = netip.ParsePrefix(text); err != nil {
			return f, fmt.Errorf("within %q is not a prefix such as 192.0.2.0/24", text)
		}
	}
	if text := q.Get("limit"); text != "" {
		if f.Limit, err = strconv.Atoi(text); err != nil || f.Limit < 0 {
			return f, fmt.Errorf("limit %q is not a number", text)
		}
	}
	return f, nil
}

// Explain implements [Steering].
func (c *Client) Explain(ctx context.Context, who, member string) (*Explanations, error) {
	return get[Explanations](ctx, c, http.MethodGet, "/v1/explain/"+url.PathEscape(who)+"?"+url.Values{"member": {member}}.Encode(), nil)
}

// RoundTrips implements [Steering].
func (c *Client) RoundTrips(ctx context.Context, f RTTFilter) (*RoundTrips, error) {
	q := url.Values{"member": {f.Member}, "limit": {strconv.Itoa(f.Limit)}}
	if f.Within.IsValid() {
		q.Set("within", f.Within.String())
	}
	return get[RoundTrips](ctx, c, http.MethodGet, "/v1/rtt?"+q.Encode(), nil)
}

// SteeringStats implements [Steering].
func (c *Client) SteeringStats(ctx context.Context) (*SteeringStats, error) {
	return get[SteeringStats](ctx, c, http.MethodGet, "/v1/steering", nil)
}
