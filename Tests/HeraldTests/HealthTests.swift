import HeraldCore
import Testing

@testable import Herald

@Suite struct HealthTests {
    @Test(arguments: [
        (false, Duration.milliseconds(900), 200, "ready"), (false, .seconds(5), 200, "ready"),
        (false, .milliseconds(5001), 503, "stuck"), (true, .zero, 503, "draining"),
    ])
    func `readiness follows the oldest proof of life`(
        isDraining: Bool, age: Duration, status: Int, word: String
    ) {
        let response = Health.readiness(isDraining: isDraining, probeAge: age)
        #expect(response.status == status)
        #expect(String(decoding: response.body, as: UTF8.self) == "{\"status\":\"\(word)\"}")
    }

    @Test func `before the first proof the server is starting`() {
        #expect(Health.readiness(isDraining: false, probeAge: nil).status == 503)
    }
}

@Suite struct StaticPagesTests {
    @Test(arguments: PageName.allCases)
    func `a page is served with its tag, and not again to who has it`(name: PageName) throws {
        let pages = StaticPages()
        let found = pages.response(name, unlessTagged: nil)
        #expect(found.status == 200)
        #expect(!found.body.isEmpty)
        let tag = try #require(found.headers.first { $0.name == "ETag" }?.value)
        #expect(pages.response(name, unlessTagged: "\"other\", \(tag)").status == 304)
        #expect(pages.response(name, unlessTagged: "*").body.isEmpty)
        #expect(pages.response(name, unlessTagged: "\"other\"").status == 200)
    }

    @Test func `nothing foreign may be loaded by the console`() {
        let policy = StaticPages.policy
        #expect(policy.contains("default-src 'none'"))
        #expect(policy.contains("frame-ancestors 'none'"))
        #expect(!policy.contains("unsafe"))
    }
}
