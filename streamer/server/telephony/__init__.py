"""Media streams of telephone calls, as Twilio and Telnyx send them: docs/integrations/telephony.md is the contract."""
