package api

import "time"

// RefusalFilter narrows ListRefused.
type RefusalFilter struct {
	AoR    string // who is named in From, To or the Request-URI
	From   string // address or network that the request came from
	CallID string
	Limit  int // the newest; 0 = all
}

// Refusal is a request that the node that is asked has itself refused. Texts are cut at some 128 bytes, and what cannot be shown is written as %XX.
type Refusal struct {
	Time      time.Time `json:"time"`
	Source    string    `json:"source" doc:"address and port that it came from" example:"10.77.0.31:5060"`
	Transport string    `json:"transport" enum:"udp,tcp,tls,ws,wss"`
	Method    string    `json:"method"`
	From      string    `json:"from" doc:"URI of the From header"`
	To        string    `json:"to" doc:"URI of the To header: of a REGISTER who is to be registered"`
	URI       string    `json:"uri" doc:"Request-URI"`
	CallID    string    `json:"call_id"`
	Status    int       `json:"status" doc:"SIP status of the answer"`
	Reason    string    `json:"reason" doc:"its reason phrase"`
	Why       string    `json:"why,omitempty" doc:"what the sender is not told, such as wrong password or unknown user"`
	User      string    `json:"user,omitempty" doc:"user named in credentials that were wrong"`
}

// Refused is a list with the number of all.
type Refused struct {
	Total   int       `json:"total" doc:"all kept that match, also those beyond the limit"`
	LeftOut uint64    `json:"left_out,omitempty" doc:"requests refused since the daemon was started that were not written down: too many in a second"`
	Refused []Refusal `json:"refused" doc:"the newest last"`
}
