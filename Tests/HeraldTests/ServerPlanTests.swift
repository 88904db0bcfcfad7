import HeraldCore
import Testing

@testable import Herald

@Suite struct ServerPlanTests {
    @Test func `the server's own topics come first and keep one event`() {
        var settings = ServerSettings()
        settings.rules = [RetentionRule(filter: "orders/**", retainEvents: 10, slowReader: .latest)]
        let rules = ServerPlan(settings).log.rules
        #expect(rules.map(\.filter.text) == ["~herald/**", "orders/**"])
        #expect(rules[0].retention.count == 1)
        #expect(rules[1].retention == Retention(count: 10, bytes: 64 << 20, ageMilliseconds: 3_600_000))
        #expect(rules[1].slow == .latest)
    }

    @Test func `the live window takes no more than a quarter of a small memory`() {
        var settings = ServerSettings()
        #expect(ServerPlan(settings).log.windowBytes == 64 << 20)
        settings.memoryLimit = 8 << 20
        #expect(ServerPlan(settings).log.windowBytes == 2 << 20)
        #expect(ServerPlan(settings).log.windowCount == 16_384)
    }

    @Test func `more loops than can be used are cut, and it is said`() {
        var settings = ServerSettings()
        settings.loops = 1000
        let plan = ServerPlan(settings)
        #expect(plan.hub.loopCount == HubConfiguration.loopCountMax)
        #expect(plan.warnings.count == 1)
    }

    @Test func `times are taken over in milliseconds`() {
        var settings = ServerSettings()
        settings.heartbeat = .milliseconds(250)
        settings.drainTimeout = .zero
        #expect(ServerPlan(settings).hub.heartbeat == 250)
        #expect(ServerPlan(settings).hub.drainTimeout == 0)
    }

    @Test(arguments: [("orders/**", true), ("a//b", false), ("a*", false)])
    func `a rule's filter is checked by the grammar`(text: String, isGood: Bool) {
        #expect((ServerRunner.filterProblem(text) == nil) == isGood)
    }
}
