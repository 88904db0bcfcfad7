/// What is counted of tokens, keys and those who are here by them.
struct AccessCounts: Sendable {
    /// Of tokens and their keys.
    var tokens = TokenVerifier.Counts()
    /// The API keys.
    var apiKeys = 0
    /// Of readers whose right can end.
    var admissions = Admissions.Counts()
    /// The revocations that are known.
    var revocations = 0
    /// Whether clients are asked who they are.
    var isOn = false
}

extension MetricsText {
    /// Appends what is counted of access; without anything that restricts it, only that.
    func appendAccess(to text: inout MetricsWriter) {
        text.family("herald_access_control", .gauge, "Whether clients are asked who they are: 1, or 0.")
        text.sample([:], access.isOn ? 1 : 0)
        text.family(
            "herald_token_checks_total", .counter,
            "Tokens that were checked, remembered ones not counted unless they were refused, by the outcome.")
        text.sample(["outcome": "accepted"], access.tokens.verified)
        for kind in TokenFault.Kind.allCases {
            text.sample(["outcome": kind.rawValue], access.tokens.faults[kind] ?? 0)
        }
        text.family("herald_token_cache_hits_total", .counter, "Requests whose token was remembered.")
        text.sample([:], access.tokens.cacheHits)
        text.family("herald_token_cache_entries", .gauge, "Tokens that are remembered.")
        text.sample([:], access.tokens.cachedCount)
        text.family("herald_token_keys", .gauge, "Keys that tokens are checked with.")
        text.sample([:], access.tokens.keyCount)
        text.family("herald_token_key_fetches_total", .counter, "Fetches of the key set, by the outcome.")
        let fetches = access.tokens.fetches
        text.samples("outcome", ["ok", "failed"], [fetches.fetched - fetches.failed, fetches.failed])
        text.family("herald_api_keys", .gauge, "API keys.")
        text.sample([:], access.apiKeys)
        text.family("herald_admitted_readers", .gauge, "Readers that are there by a right that can end.")
        text.sample([:], access.admissions.readers)
        text.family(
            "herald_admissions_total", .counter,
            "Readers that were warned that their token runs out, whose token was renewed, or that ended with it.")
        let counts = access.admissions
        text.samples(
            "event", ["warned", "renewed", "expired", "revoked"],
            [counts.warned, counts.renewed, counts.expired, counts.revoked])
        text.family("herald_revocations", .gauge, "Revocations that are known.")
        text.sample([:], access.revocations)
    }
}
