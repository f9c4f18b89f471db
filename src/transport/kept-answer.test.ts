import { create, fromBinary } from '@bufbuild/protobuf';
import test from 'ava';
import { GetPlanResponseSchema } from '@cinema-billing/gen/billing/v1/plan_service_pb.ts';
import { encodeAnswer, keptAnswer } from './kept-answer.ts';

const plan = (code: string) => create(GetPlanResponseSchema, { plan: { code, name: 'Премиум' } });

test('a kept answer is encoded once, any other one each time, and both say what they say', (t) => {
  const [kept, other] = [keptAnswer(plan('premium')), plan('basic')];
  t.is(encodeAnswer(GetPlanResponseSchema, kept), encodeAnswer(GetPlanResponseSchema, kept));
  t.not(encodeAnswer(GetPlanResponseSchema, other), encodeAnswer(GetPlanResponseSchema, other));
  for (const answer of [kept, other]) {
    t.deepEqual(fromBinary(GetPlanResponseSchema, encodeAnswer(GetPlanResponseSchema, answer)), answer);
  }
});
