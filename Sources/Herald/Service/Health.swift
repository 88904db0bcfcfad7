import HeraldCore

/// Whether the server lives, and whether it is ready for work.
enum Health {
    /// How long ago every loop must have proved that it lives. A loop proves it about once a second.
    static let probeAgeMax: Duration = .seconds(5)

    /// The answer of a server that can answer at all.
    static var live: Response { answer(200, "ok") }

    /// The answer to "shall I send you traffic?".
    static func readiness(isDraining: Bool, probeAge: Duration?) -> Response {
        if isDraining { return answer(503, "draining") }
        guard let probeAge else { return answer(503, "starting") }
        return probeAge > probeAgeMax ? answer(503, "stuck") : answer(200, "ready")
    }

    private static func answer(_ status: Int, _ word: String) -> Response {
        var json = JSONWriter()
        json.open()
        json.member("status", word)
        json.close()
        return Response.text(status, json.bytes)
    }
}
