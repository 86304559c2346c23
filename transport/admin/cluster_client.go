package admin

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
)

var _ Cluster = (*Client)(nil)

// Members implements [Cluster].
func (c *Client) Members(ctx context.Context) (*Members, error) {
	return get[Members](ctx, c, http.MethodGet, "/v1/members", nil)
}

// RemoveMember implements [Cluster].
func (c *Client) RemoveMember(ctx context.Context, member string, o RemoveOptions) (*Removal, error) {
	q := flags("force", o.Force, "alone", o.Alone, "dry_run", o.DryRun)
	return get[Removal](ctx, c, http.MethodDelete, "/v1/members/"+url.PathEscape(member)+q, nil)
}

// PromoteMember implements [Cluster].
func (c *Client) PromoteMember(ctx context.Context, member string, force bool) (*Member, error) {
	return get[Member](ctx, c, http.MethodPost, "/v1/members/"+url.PathEscape(member)+"/promote"+flags("force", force), nil)
}

// DemoteMember implements [Cluster].
func (c *Client) DemoteMember(ctx context.Context, member string, force bool) (*Member, error) {
	return get[Member](ctx, c, http.MethodPost, "/v1/members/"+url.PathEscape(member)+"/demote"+flags("force", force), nil)
}

// LeaveVote implements [Cluster].
func (c *Client) LeaveVote(ctx context.Context, member string) (*Member, error) {
	return get[Member](ctx, c, http.MethodPost, "/v1/members/"+url.PathEscape(member)+"/auto", nil)
}

// ReadmitMember implements [Cluster].
func (c *Client) ReadmitMember(ctx context.Context, member string) (*Member, error) {
	return get[Member](ctx, c, http.MethodPost, "/v1/members/"+url.PathEscape(member)+"/readmit", nil)
}

// PreferLeaders implements [Cluster].
func (c *Client) PreferLeaders(ctx context.Context, members []string) (*Members, error) {
	body, err := json.Marshal(preference{members})
	if err != nil {
		return nil, fmt.Errorf("admin request: %w", err)
	}
	return get[Members](ctx, c, http.MethodPut, "/v1/leader/preference", body)
}

// TransferLeadership implements [Cluster].
func (c *Client) TransferLeadership(ctx context.Context, to string) (*Member, error) {
	return get[Member](ctx, c, http.MethodPost, "/v1/leader/transfer?"+url.Values{"to": {to}}.Encode(), nil)
}

// Tokens implements [Cluster].
func (c *Client) Tokens(ctx context.Context) ([]Token, error) {
	l, err := get[tokenList](ctx, c, http.MethodGet, "/v1/tokens", nil)
	if err != nil {
		return nil, err
	}
	return l.Tokens, nil
}

// CreateToken implements [Cluster].
func (c *Client) CreateToken(ctx context.Context, r TokenRequest) (*NewToken, error) {
	body, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("admin request: %w", err)
	}
	return get[NewToken](ctx, c, http.MethodPost, "/v1/tokens", body)
}

// RevokeToken implements [Cluster].
func (c *Client) RevokeToken(ctx context.Context, id string) (*Token, error) {
	return get[Token](ctx, c, http.MethodDelete, "/v1/tokens/"+url.PathEscape(id), nil)
}

// Settings implements [Cluster].
func (c *Client) Settings(ctx context.Context) ([]Setting, error) {
	l, err := get[settingList](ctx, c, http.MethodGet, "/v1/settings", nil)
	if err != nil {
		return nil, err
	}
	return l.Settings, nil
}

// SetSetting implements [Cluster].
func (c *Client) SetSetting(ctx context.Context, key, value string) (*Setting, error) {
	return get[Setting](ctx, c, http.MethodPut, "/v1/settings/"+url.PathEscape(key), []byte(value))
}

// Adoption implements [Cluster].
func (c *Client) Adoption(ctx context.Context) (*Adoption, error) {
	return get[Adoption](ctx, c, http.MethodGet, "/v1/planet/adoption", nil)
}

// flags is a query with those that are set.
func flags(pairs ...any) string {
	q := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1].(bool) {
			q.Set(pairs[i].(string), "1")
		}
	}
	if len(q) == 0 {
		return ""
	}
	return "?" + q.Encode()
}
