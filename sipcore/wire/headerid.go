package wire

// HeaderID numbers the header fields that have a meaning somewhere in Holdline; all others are HdrOther.
type HeaderID uint8

// Known header fields. A compact name (RFC 3261 §7.3.3 and the IANA registry) has the ID of its long form.
const (
	HdrOther HeaderID = iota
	HdrVia
	HdrFrom
	HdrTo
	HdrCallID
	HdrCSeq
	HdrMaxForwards
	HdrContact
	HdrContentLength
	HdrContentType
	HdrContentEncoding
	HdrContentDisposition
	HdrRoute
	HdrRecordRoute
	HdrExpires
	HdrAuthorization
	HdrProxyAuthorization
	HdrWWWAuthenticate
	HdrProxyAuthenticate
	HdrAuthenticationInfo
	HdrRequire
	HdrProxyRequire
	HdrSupported
	HdrUnsupported
	HdrAllow
	HdrAccept
	HdrAcceptEncoding
	HdrAcceptLanguage
	HdrPath
	HdrServiceRoute
	HdrEvent
	HdrAllowEvents
	HdrSubscriptionState
	HdrReferTo
	HdrReferredBy
	HdrReplaces
	HdrSubject
	HdrSessionExpires
	HdrMinSE
	HdrMinExpires
	HdrRSeq
	HdrRAck
	HdrReason
	HdrRetryAfter
	HdrUserAgent
	HdrServer
	HdrTimestamp
	HdrWarning
	HdrDate
	HdrOrganization
	HdrPAssertedIdentity
	HdrPPreferredIdentity
	HdrPrivacy
	HdrRemotePartyID
	HdrDiversion
	HdrHistoryInfo
	HdrAcceptContact
	HdrRejectContact
	HdrRequestDisposition
	HdrIdentity
	HdrFlowTimer
	HdrMaxBreadth
	HdrAlertInfo
	HdrCallInfo
	HdrSIPETag
	HdrSIPIfMatch
	numHeaderIDs
)

// String is the header's long name as Holdline writes it, "" for HdrOther.
func (h HeaderID) String() string {
	if h >= numHeaderIDs {
		return ""
	}
	return headerNames[h]
}

var headerNames = [numHeaderIDs]string{
	HdrVia:                "Via",
	HdrFrom:               "From",
	HdrTo:                 "To",
	HdrCallID:             "Call-ID",
	HdrCSeq:               "CSeq",
	HdrMaxForwards:        "Max-Forwards",
	HdrContact:            "Contact",
	HdrContentLength:      "Content-Length",
	HdrContentType:        "Content-Type",
	HdrContentEncoding:    "Content-Encoding",
	HdrContentDisposition: "Content-Disposition",
	HdrRoute:              "Route",
	HdrRecordRoute:        "Record-Route",
	HdrExpires:            "Expires",
	HdrAuthorization:      "Authorization",
	HdrProxyAuthorization: "Proxy-Authorization",
	HdrWWWAuthenticate:    "WWW-Authenticate",
	HdrProxyAuthenticate:  "Proxy-Authenticate",
	HdrAuthenticationInfo: "Authentication-Info",
	HdrRequire:            "Require",
	HdrProxyRequire:       "Proxy-Require",
	HdrSupported:          "Supported",
	HdrUnsupported:        "Unsupported",
	HdrAllow:              "Allow",
	HdrAccept:             "Accept",
	HdrAcceptEncoding:     "Accept-Encoding",
	HdrAcceptLanguage:     "Accept-Language",
	HdrPath:               "Path",
	HdrServiceRoute:       "Service-Route",
	HdrEvent:              "Event",
	HdrAllowEvents:        "Allow-Events",
	HdrSubscriptionState:  "Subscription-State",
	HdrReferTo:            "Refer-To",
	HdrReferredBy:         "Referred-By",
	HdrReplaces:           "Replaces",
	HdrSubject:            "Subject",
	HdrSessionExpires:     "Session-Expires",
	HdrMinSE:              "Min-SE",
	HdrMinExpires:         "Min-Expires",
	HdrRSeq:               "RSeq",
	HdrRAck:               "RAck",
	HdrReason:             "Reason",
	HdrRetryAfter:         "Retry-After",
	HdrUserAgent:          "User-Agent",
	HdrServer:             "Server",
	HdrTimestamp:          "Timestamp",
	HdrWarning:            "Warning",
	HdrDate:               "Date",
	HdrOrganization:       "Organization",
	HdrPAssertedIdentity:  "P-Asserted-Identity",
	HdrPPreferredIdentity: "P-Preferred-Identity",
	HdrPrivacy:            "Privacy",
	HdrRemotePartyID:      "Remote-Party-ID",
	HdrDiversion:          "Diversion",
	HdrHistoryInfo:        "History-Info",
	HdrAcceptContact:      "Accept-Contact",
	HdrRejectContact:      "Reject-Contact",
	HdrRequestDisposition: "Request-Disposition",
	HdrIdentity:           "Identity",
	HdrFlowTimer:          "Flow-Timer",
	HdrMaxBreadth:         "Max-Breadth",
	HdrAlertInfo:          "Alert-Info",
	HdrCallInfo:           "Call-Info",
	HdrSIPETag:            "SIP-ETag",
	HdrSIPIfMatch:         "SIP-If-Match",
}

// maxKnownName is the length of the longest name that LookupHeader knows.
const maxKnownName = len("p-preferred-identity")

// LookupHeader returns the ID of a header name in any letter case, long or compact.
func LookupHeader(name []byte) HeaderID {
	if len(name) > maxKnownName {
		return HdrOther
	}
	var buf [maxKnownName]byte
	for i, c := range name {
		buf[i] = lower[c]
	}
	return lookupLower(buf[:len(name)])
}

// lookupLower is LookupHeader for a name in lower case.
func lookupLower(name []byte) HeaderID {
	switch string(name) {
	case "via", "v":
		return HdrVia
	case "from", "f":
		return HdrFrom
	case "to", "t":
		return HdrTo
	case "call-id", "i":
		return HdrCallID
	case "cseq":
		return HdrCSeq
	case "max-forwards":
		return HdrMaxForwards
	case "contact", "m":
		return HdrContact
	case "content-length", "l":
		return HdrContentLength
	case "content-type", "c":
		return HdrContentType
	case "content-encoding", "e":
		return HdrContentEncoding
	case "content-disposition":
		return HdrContentDisposition
	case "route":
		return HdrRoute
	case "record-route":
		return HdrRecordRoute
	case "expires":
		return HdrExpires
	case "authorization":
		return HdrAuthorization
	case "proxy-authorization":
		return HdrProxyAuthorization
	case "www-authenticate":
		return HdrWWWAuthenticate
	case "proxy-authenticate":
		return HdrProxyAuthenticate
	case "authentication-info":
		return HdrAuthenticationInfo
	case "require":
		return HdrRequire
	case "proxy-require":
		return HdrProxyRequire
	case "supported", "k":
		return HdrSupported
	case "unsupported":
		return HdrUnsupported
	case "allow":
		return HdrAllow
	case "accept":
		return HdrAccept
	case "accept-encoding":
		return HdrAcceptEncoding
	case "accept-language":
		return HdrAcceptLanguage
	case "path":
		return HdrPath
	case "service-route":
		return HdrServiceRoute
	case "event", "o":
		return HdrEvent
	case "allow-events", "u":
		return HdrAllowEvents
	case "subscription-state":
		return HdrSubscriptionState
	case "refer-to", "r":
		return HdrReferTo
	case "referred-by", "b":
		return HdrReferredBy
	case "replaces":
		return HdrReplaces
	case "subject", "s":
		return HdrSubject
	case "session-expires", "x":
		return HdrSessionExpires
	case "min-se":
		return HdrMinSE
	case "min-expires":
		return HdrMinExpires
	case "rseq":
		return HdrRSeq
	case "rack":
		return HdrRAck
	case "reason":
		return HdrReason
	case "retry-after":
		return HdrRetryAfter
	case "user-agent":
		return HdrUserAgent
	case "server":
		return HdrServer
	case "timestamp":
		return HdrTimestamp
	case "warning":
		return HdrWarning
	case "date":
		return HdrDate
	case "organization":
		return HdrOrganization
	case "p-asserted-identity":
		return HdrPAssertedIdentity
	case "p-preferred-identity":
		return HdrPPreferredIdentity
	case "privacy":
		return HdrPrivacy
	case "remote-party-id":
		return HdrRemotePartyID
	case "diversion":
		return HdrDiversion
	case "history-info":
		return HdrHistoryInfo
	case "accept-contact", "a":
		return HdrAcceptContact
	case "reject-contact", "j":
		return HdrRejectContact
	case "request-disposition", "d":
		return HdrRequestDisposition
	case "identity", "y":
		return HdrIdentity
	case "flow-timer":
		return HdrFlowTimer
	case "max-breadth":
		return HdrMaxBreadth
	case "alert-info":
		return HdrAlertInfo
	case "call-info":
		return HdrCallInfo
	case "sip-etag":
		return HdrSIPETag
	case "sip-if-match":
		return HdrSIPIfMatch
	}
	return HdrOther
}
