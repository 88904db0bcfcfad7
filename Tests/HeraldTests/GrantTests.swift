import Testing

@testable import Herald

@Suite struct GrantTests {
    @Test func `a grant is over at the second of its expiry`() {
        let grant = Grant(expiry: 1000)
        #expect(grant.fault(at: 999) == nil)
        #expect(grant.fault(at: 1000) == .expired)
        #expect(grant.fault(at: 1004, leeway: 5) == nil)
        #expect(grant.fault(at: 1005, leeway: 5) == .expired)
    }

    @Test func `a grant counts from the second of its beginning`() {
        let grant = Grant(notBefore: 1000)
        #expect(grant.fault(at: 999) == .notYetValid)
        #expect(grant.fault(at: 1000) == nil)
        #expect(grant.fault(at: 995, leeway: 5) == nil)
        #expect(grant.fault(at: 994, leeway: 5) == .notYetValid)
    }

    @Test func `a grant without dates always counts`() {
        #expect(Grant().fault(at: .min) == nil)
        #expect(Grant().fault(at: .max) == nil)
    }

    @Test func `a label is one bounded line`() {
        #expect(Grant(subject: "alice\n", tokenID: "7").label == #""alice\n""#)
        #expect(Grant(tokenID: "7").label == #"jti "7""#)
        #expect(Grant().label == "no subject")
        #expect(Grant(subject: String(repeating: "x", count: 1000)).label.count < 100)
    }

    @Test func `each fault has a text and a kind of its own`() {
        let faults: [TokenFault] = [
            .malformed, .tooLong, .unsupportedAlgorithm, .criticalHeader, .unknownKey, .badSignature, .expired,
            .notYetValid, .wrongIssuer, .wrongAudience, .claim("exp", "is not a date"), .noRights, .keysUnavailable,
        ]
        #expect(Set(faults.map(\.text)).count == faults.count)
        #expect(Set(faults.map(\.kind)) == Set(TokenFault.Kind.allCases))
    }
}
