// The sentence that a voice says for Listen, in its language.

const SAMPLES = {
  de: "Hallo! So klinge ich. Womit kann ich dir helfen?",
  en: "Hello! This is how I sound. What can I do for you?",
  es: "¡Hola! Así suena mi voz. ¿En qué puedo ayudarte?",
  fr: "Bonjour ! Voici ma voix. Que puis-je faire pour vous ?",
  hi: "नमस्ते! मेरी आवाज़ ऐसी है। मैं आपकी क्या मदद कर सकता हूँ?",
  it: "Ciao! Questa è la mia voce. Come posso aiutarti?",
  ja: "こんにちは。これが私の声です。何かお手伝いしましょうか。",
  ko: "안녕하세요! 제 목소리는 이렇습니다. 무엇을 도와드릴까요?",
  pl: "Cześć! Tak brzmi mój głos. W czym mogę pomóc?",
  pt: "Olá! É assim que eu falo. Em que posso ajudar?",
  ru: "Привет! Вот так звучит мой голос. Чем могу помочь?",
  tr: "Merhaba! Sesim böyle. Size nasıl yardımcı olabilirim?",
  zh: "你好！这就是我的声音。我能帮你做什么？",
};

/** Returns the sentence in English if there is none in the language. */
export const sampleOf = (language) => SAMPLES[language] ?? SAMPLES.en;
