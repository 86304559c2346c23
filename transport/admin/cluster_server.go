package admin

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
)

// maxSmall is the most bytes that the server reads of a body that is no planet.
const maxSmall = 4 << 10

// clusterRoutes adds what a member of a cluster serves.
func (s *Server) clusterRoutes(c Cluster) {
	s.mux.HandleFunc("GET /v1/members", func(w http.ResponseWriter, r *http.Request) {
		v, err := c.Members(r.Context())
		s.answer(w, "list members", v, err)
	})
	s.mux.HandleFunc("DELETE /v1/members/{member}", func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		v, err := c.RemoveMember(r.Context(), r.PathValue("member"), RemoveOptions{Force: q.Get("force") == "1", Alone: q.Get("alone") == "1", DryRun: q.Get("dry_run") == "1"})
		s.answer(w, "remove member "+r.PathValue("member"), v, err)
	})
	s.mux.HandleFunc("POST /v1/members/{member}/promote", func(w http.ResponseWriter, r *http.Request) {
		v, err := c.PromoteMember(r.Context(), r.PathValue("member"), r.URL.Query().Get("force") == "1")
		s.answer(w, "promote member "+r.PathValue("member"), v, err)
	})
	s.mux.HandleFunc("POST /v1/members/{member}/demote", func(w http.ResponseWriter, r *http.Request) {
		v, err := c.DemoteMember(r.Context(), r.PathValue("member"), r.URL.Query().Get("force") == "1")
		s.answer(w, "demote member "+r.PathValue("member"), v, err)
	})
	s.mux.HandleFunc("POST /v1/members/{member}/auto", func(w http.ResponseWriter, r *http.Request) {
		v, err := c.LeaveVote(r.Context(), r.PathValue("member"))
		s.answer(w, "member "+r.PathValue("member"), v, err)
	})
	s.mux.HandleFunc("POST /v1/members/{member}/readmit", func(w http.ResponseWriter, r *http.Request) {
		v, err := c.ReadmitMember(r.Context(), r.PathValue("member"))
		s.answer(w, "readmit member "+r.PathValue("member"), v, err)
	})
	s.mux.HandleFunc("PUT /v1/leader/preference", func(w http.ResponseWriter, r *http.Request) {
		const what = "prefer leaders"
		var p preference
		if body, ok := s.body(w, r, what); !ok {
			return
		} else if err := json.Unmarshal(body, &p); err != nil {
			s.fail(w, &Error{Status: http.StatusBadRequest, What: what, Why: "request not understood: " + err.Error()})
			return
		}
		v, err := c.PreferLeaders(r.Context(), p.Members)
		s.answer(w, what, v, err)
	})
	s.mux.HandleFunc("POST /v1/leader/transfer", func(w http.ResponseWriter, r *http.Request) {
		v, err := c.TransferLeadership(r.Context(), r.URL.Query().Get("to"))
		s.answer(w, "transfer leadership", v, err)
	})

	s.mux.HandleFunc("GET /v1/tokens", func(w http.ResponseWriter, r *http.Request) {
		v, err := c.Tokens(r.Context())
		s.answer(w, "list tokens", tokenList{v}, err)
	})
	s.mux.HandleFunc("POST /v1/tokens", func(w http.ResponseWriter, r *http.Request) {
		const what = "create token"
		var req TokenRequest
		if body, ok := s.body(w, r, what); !ok {
			return
		} else if err := json.Unmarshal(body, &req); err != nil || req.Life < 0 {
			s.fail(w, &Error{Status: http.StatusBadRequest, What: what, Why: fmt.Sprintf("request not understood (%v)", err)})
			return
		}
		v, err := c.CreateToken(r.Context(), req)
		s.answer(w, what, v, err)
	})
	s.mux.HandleFunc("DELETE /v1/tokens/{id}", func(w http.ResponseWriter, r *http.Request) {
		v, err := c.RevokeToken(r.Context(), r.PathValue("id"))
		s.answer(w, "revoke token "+r.PathValue("id"), v, err)
	})

	s.mux.HandleFunc("GET /v1/settings", func(w http.ResponseWriter, r *http.Request) {
		v, err := c.Settings(r.Context())
		s.answer(w, "list settings", settingList{v}, err)
	})
	s.mux.HandleFunc("PUT /v1/settings/{key}", func(w http.ResponseWriter, r *http.Request) {
		what := "set " + r.PathValue("key")
		if body, ok := s.body(w, r, what); ok {
			v, err := c.SetSetting(r.Context(), r.PathValue("key"), string(body))
			s.answer(w, what, v, err)
		}
	})

	s.mux.HandleFunc("GET /v1/planet/adoption", func(w http.ResponseWriter, r *http.Request) {
		v, err := c.Adoption(r.Context())
		s.answer(w, "planet adoption", v, err)
	})
}

// preference names the members that should lead, the best first.
type preference struct {
	Members []string `json:"members"`
}

// tokenList and settingList are objects, so that fields can be added.
type tokenList struct {
	Tokens []Token `json:"tokens"`
}

type settingList struct {
	Settings []Setting `json:"settings"`
}

// decode reads a small body of JSON, and answers itself if that fails.
func (s *Server) decode(w http.ResponseWriter, r *http.Request, what string, v any) bool {
	body, ok := s.body(w, r, what)
	if !ok {
		return false
	}
	if err := json.Unmarshal(body, v); err != nil {
		s.fail(w, &Error{Status: http.StatusBadRequest, What: what, Why: fmt.Sprintf("request not understood (%v)", err)})
		return false
	}
	return true
}

// body reads a small body, and answers itself if that fails.
func (s *Server) body(w http.ResponseWriter, r *http.Request, what string) ([]byte, bool) {
	b, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxSmall))
	if err != nil {
		s.fail(w, &Error{Status: http.StatusBadRequest, What: what, Why: err.Error()})
		return nil, false
	}
	return b, true
}
